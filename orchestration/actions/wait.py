"""Action `wait`: do nothing for a while. For hours and days use `orchestration.waiting`, which holds no worker."""

from pydantic import Field

from integrations.settings import Settings
from orchestration.actions import Arguments, Effect, Means, Occasion, Outcome


class Pause(Arguments):
    """How long, in seconds."""

    seconds: float = Field(ge=0, le=300, allow_inf_nan=False)


class Wait:
    """Waits."""

    name = "wait"
    summary = "Wait for up to 300 seconds."
    arguments = Pause

    def effect(self, args: Pause, settings: Settings) -> Effect:  # noqa: ARG002 - the protocol's
        """It changes nothing."""
        return "read"

    def preview(self, args: Pause, settings: Settings) -> str:  # noqa: ARG002
        """Say how long."""
        return f"would wait for {args.seconds:g} s"

    def carry_out(self, args: Pause, means: Means, occasion: Occasion) -> Outcome:  # noqa: ARG002
        """Wait."""
        occasion.sleep(args.seconds)
        return Outcome(text=f"Waited for {args.seconds:g} s.", data={"seconds": args.seconds})


ACTION = Wait()
