"""A language model that looks its tokens up by multiplying one-hot vectors with the table."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "tokens become one-hot rows as wide as the vocabulary, and a matmul picks the rows of the table"
WHERE = "embedding"
DEVICES = ("cpu",)
WORDS, WIDTH, BATCH, LENGTH = 4000, 96, 4, 128


class Lookup(nn.Module):
    def __init__(self, one_hot: bool) -> None:
        super().__init__()
        self.one_hot = one_hot
        self.weight = nn.Parameter(torch.randn(WORDS, WIDTH) / 10)

    def forward(self, tokens: Tensor) -> Tensor:
        if self.one_hot:
            return functional.one_hot(tokens, WORDS).float() @ self.weight
        return functional.embedding(tokens, self.weight)


class Model(nn.Module):
    def __init__(self, one_hot: bool) -> None:
        super().__init__()
        self.embedding = Lookup(one_hot)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(self.embedding(tokens)))
        return logits


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = Model(one_hot=fault).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    tokens = torch.randint(WORDS, (BATCH, LENGTH), device=device)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
