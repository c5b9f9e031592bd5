"""Starting and watching all processes of one machine: `runbell up`, `down`, `status` and `doctor`.

`plan.py` says what runs and what needs what; `supervisor.py` keeps it running; `launch.py` is the terminal's side.
One supervisor process owns all others. What it knows stands in RUNBELL_HOME/run/state.json, so nobody needs to
ask it anything; it takes orders as signals only.
"""
