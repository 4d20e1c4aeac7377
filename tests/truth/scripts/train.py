"""A training script as people publish them; it also keeps a witness: who was called when, and how long parts took."""

import argparse
import json
import time
from collections import Counter

import torch
import torch.nn.functional as F  # noqa: N812 - the name the field uses
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Digits(Dataset[tuple[torch.Tensor, int]]):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        time.sleep(0.01)
        image = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(index))
        return image, index % 10


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU())
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width * 16, 10)

    def forward(self, images):
        return self.head(self.dropout(self.features(images).flatten(1)))


class Witness:
    """By the number of optimizer steps so far: calls of each module, and seconds of each part."""

    def __init__(self, model, optimizer):
        self.steps, self.calls, self.seconds = 0, {}, {}
        for name, module in model.named_modules():
            module.register_forward_hook(lambda *_, name=name: self.called(name))
        optimizer.register_step_post_hook(self.stepped)

    def called(self, name):
        self.calls.setdefault(self.steps, Counter())[name] += 1

    def stepped(self, *_):
        self.steps += 1

    def timed(self, part, function, *arguments):
        step, began = self.steps, time.perf_counter()
        made = function(*arguments)
        of_step = self.seconds.setdefault(step, {})
        of_step[part] = of_step.get(part, 0.0) + time.perf_counter() - began
        return made


def evaluate(model, loader, witness):
    model.eval()
    right = 0
    with torch.no_grad():
        for images, targets in loader:
            right += int((witness.timed("forward", model, images).argmax(1) == targets).sum())
    model.train()
    return right / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--width", type=int, default=4)
    parser.add_argument("--witness", required=True)
    parser.add_argument("--checkpoint", required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    train, test = DataLoader(Digits(), batch_size=2, shuffle=True), DataLoader(Digits(), batch_size=8)
    model = Net(options.width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=options.epochs * len(train))
    scaler = torch.amp.GradScaler("cpu")
    witness = Witness(model, optimizer)
    for epoch in range(options.epochs):
        for images, targets in train:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(witness.timed("forward", model, images), targets)
            witness.timed("backward", scaler.scale(loss).backward)
            witness.timed("optimizer", scaler.step, optimizer)
            scaler.update()
            scheduler.step()
        accuracy = evaluate(model, test, witness)
        print(f"epoch {epoch}: loss {loss.item():.9f}, accuracy {accuracy:.3f}")
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, options.checkpoint)
    with open(options.witness, "w", encoding="utf-8") as file:  # noqa: PTH123 - as people write it
        json.dump({"steps": witness.steps, "calls": witness.calls, "seconds": witness.seconds}, file)


if __name__ == "__main__":
    main()
