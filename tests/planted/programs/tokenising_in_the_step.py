"""A text classifier that splits its texts into tokens, in Python, in each step."""

import random
import re
import string
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "texts are split and looked up in a dictionary by Python in each step, before the model can begin"
WHERE = "tokenise, before forward"
DEVICES = ("cpu",)
WORDS, WIDTH, BATCH, LENGTH = 5000, 64, 160, 256
PATTERN = re.compile(r"[a-z]+|[0-9]+|[^\w\s]")


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS + 1, WIDTH)
        self.mix = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.mix(self.embedding(tokens)).mean(1))
        return logits


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    draw = random.Random(0)
    words = ["".join(draw.choices(string.ascii_lowercase, k=7)) for _ in range(WORDS)]
    vocabulary = {word: number for number, word in enumerate(words)}
    texts = [" ".join(draw.choices(words, k=LENGTH)).capitalize() for _ in range(BATCH)]
    model = Classifier().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    labels = torch.randint(10, (BATCH,), device=device)

    def tokenise() -> Tensor:
        found = [[vocabulary.get(word, WORDS) for word in PATTERN.findall(text.lower())] for text in texts]
        return torch.tensor(found, device=device)

    ready = tokenise()

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(tokenise() if fault else ready), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
