"""Simulators: a local server per network that speaks its real protocol, for our tests and for yours.

    async with SimulatedSlack() as slack:
        settings = Settings(channels=Channels(slack=slack.settings()))
        …
        await slack.say("D1", "hello")
        answer = await slack.posted(1)

One file per network; `base.py` is what they share. They refuse what the real network refuses.
"""
