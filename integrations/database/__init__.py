"""Tables, migrations, and the stores over them. Rows never leave this package."""
