"""A transformers model of random weights, made on the spot: every token is a byte, so characters are split."""

from pathlib import Path

from serving.fleet import ModelSpec

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make(folder: Path, seed: int = 7) -> Path:
    """Write config, weights and tokenizer; a shape like Qwen2's, with grouped heads."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bare = Tokenizer(models.BPE({char: index for index, char in enumerate(alphabet)}, []))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    specials = ["<|im_start|>", "<|im_end|>"]
    bare.add_special_tokens(specials)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, eos_token="<|im_end|>", additional_special_tokens=specials, chat_template=TEMPLATE
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():  # apart enough that rounding never changes the likeliest token
            weight.mul_(3.0)
    model.save_pretrained(folder)
    return folder


def spec(folder: Path, **options: object) -> ModelSpec:
    told = {"engine": "transformers", "name": "tiny", "slots": 4, "context_tokens": 512} | options
    return ModelSpec.model_validate({key: value for key, value in told.items() if key != "name"}).model_copy(
        update={"name": told["name"], "model": str(folder)}
    )
