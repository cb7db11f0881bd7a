"""What tests share that train nothing: noisy clips, untrained networks, a stand-in for `fit`."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from conftest import SGD, blobs, phase
from tiny_study import write_params

from mtcil.core.lookup import find, names
from mtcil.learning import importance as _importance
from mtcil.learning.clips import Clips, of_labels
from mtcil.learning.fit import Streams
from mtcil.learning.learner import Learner
from mtcil.learning.network import Network
from mtcil.learning.steps import StepClips
from mtcil.running.jobs import BaseJob, Folders, base_jobs
from mtcil.running.models import save_model
from mtcil.settings.files import read_study
from mtcil.settings.sections import NetworkSettings, StepTrainingSettings

TINY = NetworkSettings((4, 4), (3, 3), (1, 1), (2, 2), 0.5)
TRAINING = StepTrainingSettings(SGD, phase(1), phase(2, rate=0.05), 1, "new_only", 0.2)
NO_CLIPS = Clips(torch.empty(0, 1, 8, 8), torch.empty(0, dtype=torch.int64))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


def network_of(n_classes, seed=0):
    """A network whose BatchNorm statistics are not the first ones, so that they count."""
    network = Network(TINY, n_classes, seeded(seed)).eval()
    for block in network.blocks:
        block[-1].running_mean += 0.1 * numbers(4, seed=seed + 1)
        block[-1].running_var *= 1 + 0.5 * numbers(4, seed=seed + 2).abs()
    return network


def clips_of(n_per_class, classes, seed=0):
    """Clips of noise about the class's patch: no batch of them is easy."""
    clips = blobs(n_per_class, max(classes) + 1, seed)
    rows = torch.cat([of_labels(clips, label, label + 1) for label in classes])
    noisy = clips.features + 2 * numbers(*clips.features.shape, seed=seed + 50)
    return Clips(noisy, clips.labels)[rows]


def step_of(n_exemplars=5):
    """Four old classes with some exemplars each, two new ones with 12 clips each."""
    memory = clips_of(n_exemplars, [0, 1, 2, 3], seed=3) if n_exemplars else NO_CLIPS
    return StepClips(clips_of(12, [4, 5]), memory, NO_CLIPS, 4 * n_exemplars // 6)


def learn(method, step, config, tensors=None, rule="argmax", training=TRAINING):
    """The learner before a step, and the one after it."""
    learner = Learner(network_of(4), tensors or {}, rule)
    return learner, method.learn_step(learner, step, training, config, Streams(0, 1))


def without_training(monkeypatch):
    """Replace `fit_whole` by something that moves the network at random instead.

    Returns:
        A list that gets, at each call, the rows and the loss of the first batch, a copy of the
        network that gave it, and what else was asked for.
    """
    calls = []

    def stand_in(network, batches, loss, clips, training, streams, report, **more):
        draw = seeded(len(calls) + 7)
        with torch.no_grad():
            for value in network.parameters():
                value += 0.1 * torch.randn(value.shape, generator=draw)
        epoch = list(batches(seeded()))
        calls.append(
            SimpleNamespace(
                rows=epoch[0], epoch=epoch, loss=loss(epoch[0]), network=copy.deepcopy(network),
                **more,
            )
        )  # fmt: skip
        return {more.get("name", "then_all"): 1}

    for module in (_importance, *(find("methods", name) for name in names("methods"))):
        if hasattr(module, "fit_whole"):
            monkeypatch.setattr(module, "fit_whole", stand_in)
    return calls


def kept_apart(logits, old_logits, t):
    """KL(softmax(old / T) || softmax(new / T)), mean over the batch, summed over classes; plain."""
    p, q = (old_logits / t).softmax(1), (logits / t).softmax(1)
    return (p * (p.log() - q.log())).sum(1).mean()


def close(found, wanted, tolerance=1e-5):
    torch.testing.assert_close(
        torch.as_tensor(found), torch.as_tensor(wanted), rtol=tolerance, atol=tolerance,
        check_dtype=False,
    )  # fmt: skip


def batch_of(call, clips):
    """The clips of the first batch, of a method whose epochs are all of `clips` once."""
    assert sorted(torch.cat(call.epoch).tolist()) == list(range(len(clips)))
    return clips[call.rows]


def made_study(folder: Path, values: dict[str, Any], n_clips: int = 12) -> None:
    """A study as after `train_base`: noise as features of each word, untrained base models."""
    write_params(folder, values)
    features, words = folder / "data/features/words", values["datasets"]["words"]["classes"]
    features.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(size=(len(words), n_clips, 32, 32))
    made = noise + np.arange(len(words))[:, None, None, None]
    np.save(features / "features.npy", made.reshape(-1, 32, 32).astype(np.float32))
    rows = [f"{word}/{i},{word},{i},0,1.0" for word in words for i in range(n_clips)]
    table = "\n".join(["id,class,group,fold,seconds", *rows, ""])
    (features / "clips.csv").write_text(table, "utf-8")
    for job in bases_of(folder):
        save_untrained(job)


def bases_of(folder: Path) -> list[BaseJob]:
    """The base models that a study asks for, in the order of its rows."""
    study = read_study(folder / "params.yaml")
    models = folder / "models/base/words"
    folders = Folders(folder / "data/features/words", models, folder / ".checkpoints")
    return base_jobs(study, "words", list(study.all_starts("words")), folders, "cpu")


def save_untrained(job: BaseJob) -> None:
    network = Network(job.network, job.dataset.steps[0], seeded(job.seed)).eval()
    save_model(Learner(network, epochs={"base": 2}), job.key, job.file)
