"""`/summary [FOLDER]` — what is in these documents, shown by quotations."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from pydantic import Field

from examples.reading import documents_in, read_text
from examples.wording import Summary, summarise
from orchestration.authoring import command
from serving.client import Models


class Folder(dg.Config):
    folder: str = Field(
        default=".",
        description="A folder below the documents' root",
        json_schema_extra={"description_zh": "文档根目录下的文件夹"},
    )
    limit: int = Field(
        default=10, ge=1, le=20, description="Documents at most", json_schema_extra={"description_zh": "最多几篇文档"}
    )


@dg.op(out=dg.DynamicOut(str))
def find_documents(context: dg.OpExecutionContext, config: Folder) -> Iterator[dg.DynamicOutput[str]]:
    """List the documents of the folder, one output each, so that the UI shows each summary by itself."""
    found = documents_in(config.folder)
    context.log.info("%d documents, %d of them summarised", len(found), min(len(found), config.limit))
    for number, path in enumerate(found[: config.limit]):
        yield dg.DynamicOutput(str(path), mapping_key=f"document_{number}")


@dg.op
def summarise_document(context: dg.OpExecutionContext, path: str, models: dg.ResourceParam[Models]) -> Summary:
    """Quote what is central, and let the model word one sentence about it."""
    name = Path(path).name
    text, problem = read_text(Path(path))

    def tell(done: int, of: int) -> None:
        if of > 1:
            context.log.info("read %d of %d pieces of %s", done, of, name)

    made = Summary(name, problem=problem) if problem else summarise(name, text, models, tell)
    context.add_output_metadata(
        {"document": name, "characters": len(text), "model": made.model or "none", "quotations": len(made.quotations)}
    )
    return made


@dg.op
def write_summary(context: dg.OpExecutionContext, summaries: list[Summary]) -> str:
    """Put the summaries together."""
    if not summaries:
        return "There are no .txt, .md or .pdf documents in this folder."
    text = "\n\n".join(summary.as_markdown() for summary in summaries)
    if silent := next((summary.silence for summary in summaries if summary.silence), None):
        text += f"\n\n_The model could not word a summary ({silent}); these are the central sentences themselves._"
    context.add_output_metadata({"summary": dg.MetadataValue.md(text)})
    return text


@command(
    effect="read",
    allowed="everyone",
    description_zh="概括文件夹里的文档，并附上原文引文",
    aliases=["摘要", "总结"],
    examples=[
        "Summarise the documents",
        "What do these documents say?",
        "Give me a short version of the files in the folder",
        "总结一下这些文档",
        "这些文件讲了什么？",
        "给我一份文件夹的摘要",
    ],
)
@dg.job(executor_def=dg.in_process_executor)
def summary() -> None:
    """Summarise the documents of a folder, with quotations."""
    write_summary(find_documents().map(summarise_document).collect())
