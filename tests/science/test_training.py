"""What is trained as a value, its execution, and the base step: no accuracies someone once saw."""

import copy
from dataclasses import replace
from math import log, sqrt
from types import SimpleNamespace

import pytest
import torch
from conftest import NETWORK, SGD, batches_of, blobs, phase
from torch import nn

from mtcil.learning.base_step import BasePlan, _tables_of_tasks, learn_base
from mtcil.learning.fit import (
    Fit,
    Phase,
    Phases,
    Seeds,
    Table,
    Trained,
    Validation,
    logged,
    phase_of,
    score,
    updates_of,
)
from mtcil.learning.network import Network, copy_state, train_mode
from mtcil.running.alone import follow, train
from mtcil.settings.training import PhaseSettings, SgdSettings

PLAIN = SgdSettings(batch=2, momentum=0.0, weight_decay=0.0)


# The length of a phase, its checks and its rate


def checks_of(updates, checks=20):
    made = Phase(updates, 0.1, checks=checks)
    return [update for update in range(1, updates + 1) if made.is_check(update)]


def test_checks_are_spread_evenly_by_hand():
    assert checks_of(20) == list(range(1, 21))
    assert checks_of(60) == list(range(3, 61, 3))
    assert checks_of(7) == [1, 2, 3, 4, 5, 6, 7]  # fewer updates than checks: one after each
    # 3 u / 7 passes 1, 2 and 3 at u = 3 (9 / 7), 5 (15 / 7) and 7.
    assert checks_of(7, checks=3) == [3, 5, 7]


def test_cosine_falls_with_each_update_by_hand():
    # 0.2 / 2 (1 + cos(pi u / 4)), and cos(pi / 4) is the root of one half.
    rates = [Phase(4, 0.2, "cosine").rate(update) for update in range(4)]
    assert rates == pytest.approx([0.2, 0.1 * (1 + sqrt(0.5)), 0.1, 0.1 * (1 - sqrt(0.5))])
    assert [Phase(4, 0.2).rate(update) for update in range(4)] == [0.2] * 4


def test_a_phase_of_the_settings_has_the_datasets_length():
    made = phase_of(PhaseSettings(5, 0.3, "cosine"), 70)
    assert made == Phase(70, 0.3, "cosine", patience=5, checks=20, optimiser="sgd")


def test_epochs_as_updates_by_hand():
    assert updates_of(3, n_clips=64, batch=32) == 3 * 2
    assert updates_of(3, n_clips=65, batch=32) == 3 * 3
    assert updates_of(0, n_clips=65, batch=32) == 0


def test_score_by_hand():
    accuracy, minus_loss = score(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1]))
    assert accuracy == 0.5
    assert minus_loss == pytest.approx(-0.6931, abs=1e-4)


# Batches


class Counter(nn.Module):
    """One number that learns."""

    def __init__(self):
        super().__init__()
        self.count = nn.Parameter(torch.zeros(()))


def upwards(module, batch, numbers, choices):
    """Each update adds the learning rate to the number."""
    return -module.count


def counting(phase, loss=upwards, validation=None, sgd=PLAIN, **more):
    """A Fit of one number; `rows` of six."""
    tables = {"rows": Table({"number": torch.arange(6)}, 4)}
    fields = {"tables": tables, "seeds": Seeds(0, 0)} | more
    return Fit("a", Counter(), loss=loss, phase=phase, sgd=sgd, validation=validation, **fields)


def test_an_executor_gives_full_batches_of_every_table():
    many, few = torch.arange(6), torch.arange(3)
    tables = {"many": Table({"number": many}, 4), "few": Table({"number": few}, 4), "none": None}
    found = batches_of(counting(phase(1), tables=tables), 6)
    assert all(batch.none is None and batch.many.keep is None for batch in found)
    for name, n_rows in (("many", 6), ("few", 3)):
        numbers = [getattr(batch, name).number for batch in found]
        assert {len(part) for part in numbers} == {4}
        for shuffle in torch.cat(numbers).split(n_rows):
            assert sorted(shuffle.tolist()) == list(range(n_rows))


def test_random_columns_of_a_batch_have_a_generator_of_their_own():
    def draw(n, generator):
        return {"noise": torch.randn(n, 2, generator=generator)}

    plain = counting(phase(1))
    drawing = replace(plain, tables={"rows": replace(plain.tables["rows"], draw=draw)})
    found, again, without = (batches_of(fit, 3) for fit in (drawing, drawing, plain))
    for one, two, three in zip(found, again, without, strict=True):
        assert one.rows.noise.shape == (4, 2) and torch.equal(one.rows.noise, two.rows.noise)
        assert torch.equal(one.rows.number, three.rows.number)
    assert not torch.equal(found[0].rows.noise, found[1].rows.noise)
    of_rows = draw(4, Seeds(0, 0).generator("batches", "a", "rows"))["noise"]
    assert not torch.equal(found[0].rows.noise, of_rows)  # not the one that shuffles


def test_the_loss_is_given_numbers_and_choices():
    def loss(module, batch, numbers, choices):
        assert choices == ("a", "b") and torch.equal(numbers.nested.mean, torch.ones(2))
        return -numbers.weight * module.count

    numbers = {"weight": 3.0, "nested": {"mean": torch.ones(2)}}
    fit = counting(Phase(2, 0.5), loss, numbers=numbers, choices=("a", "b"))
    assert train(fit).module.count.item() == 2 * 0.5 * 3


def test_clips_per_update_are_those_that_pass_the_network():
    clips = {"features": torch.zeros(6, 1), "labels": torch.zeros(6)}
    tables = {"new": Table(clips, 4), "old": Table(clips, 3), "none": None}
    tables["weights"] = Table({"number": torch.zeros(6)}, 9)
    assert counting(phase(1), tables=tables).clips_per_update == 4 + 3


# Updates


@pytest.mark.parametrize(
    ("made", "sgd", "count"),
    [
        (Phase(4, 0.2), PLAIN, 4 * 0.2),
        (Phase(4, 0.2, "cosine"), PLAIN, 0.2 + 0.1 * (1 + sqrt(0.5)) + 0.1 + 0.1 * (1 - sqrt(0.5))),
        # Momentum 0.5: steps of 1 and 1.5 times the rate.
        (Phase(2, 0.1), SgdSettings(2, 0.5, 0.0), 0.1 + 0.15),
        # Weight decay 0.5: from 0 to 1, then by 1 - 0.5 * 1.
        (Phase(2, 1.0), SgdSettings(2, 0.0, 0.5), 1.5),
        # Adam divides a steady gradient by its own size.
        (Phase(3, 0.01, optimiser="adam"), PLAIN, 3 * 0.01),
    ],
    ids=["constant", "cosine", "momentum", "weight decay", "adam"],
)
def test_updates_by_hand(made, sgd, count):
    trained = train(counting(made, sgd=sgd))
    assert trained.updates == made.updates
    assert trained.module.count.item() == pytest.approx(count, rel=1e-5)


def made_up(checks):
    """Ten clips of class 0; each check has its own accuracy, and its own size of the logits."""
    left = iter(checks)

    def logits(module, rows):
        right, size = next(left)
        signs = torch.where(torch.arange(10) < 10 * right, 1.0, -1.0)
        return torch.stack([size * signs, -size * signs], 1)

    rows = {"features": torch.zeros(10, 1), "labels": torch.zeros(10, dtype=torch.int64)}
    return Validation(rows, logits)


def stopped(checks, patience, updates=10):
    """Train with made-up checks, 1 after each update; updates made, and the one that is kept."""
    checks = [check if isinstance(check, tuple) else (check, 1.0) for check in checks]
    fit = counting(Phase(updates, 1.0, patience=patience), validation=made_up(checks))
    module, made = train(fit)
    assert not module.training
    return made, module.count.item()


def test_early_stopping_keeps_the_best_check_and_ends_after_patience():
    assert stopped([0.1, 0.5, 0.3, 0.4, 0.2, 0.9], patience=3) == (5, 2)


def test_the_best_check_is_kept_where_all_updates_are_made():
    assert stopped([0.1, 0.5, 0.3, 0.4], patience=3, updates=4) == (4, 2)


def test_among_equal_accuracies_the_smaller_loss_is_better():
    # All right: the larger the logits, the smaller the loss. The first of equals is kept.
    assert stopped([(1.0, 1.0), (1.0, 2.0), (1.0, 2.0), (1.0, 1.5)], patience=2) == (4, 2)


def test_patience_counts_checks_and_not_updates():
    made = Phase(8, 1.0, patience=1, checks=4)  # checks after updates 2, 4, 6, 8
    fit = counting(made, validation=made_up([(0.5, 1.0), (0.9, 1.0), (0.6, 1.0), (1.0, 1.0)]))
    module, updates = train(fit)
    assert (updates, module.count.item()) == (6, 4)


def test_without_patience_all_updates_are_made_and_the_last_weights_are_kept():
    assert stopped([], patience=None, updates=4) == (4, 4)  # no check is asked for


def test_without_validation_clips_patience_stops_nothing():
    module, updates = train(counting(Phase(4, 1.0, patience=1)))
    assert (updates, module.count.item()) == (4, 4)


def test_no_updates_change_nothing():
    assert stopped([], patience=2, updates=0) == (0, 0)


def test_a_run_is_sent_each_trained_network_and_its_log_says_how_long_it_took():
    def steps():
        network = Counter()
        for updates in (3, 2):
            network = yield replace(counting(Phase(updates, 1.0)), network=network)
        return network.count.item()

    phases = Phases()
    assert follow(logged(steps(), phases)) == 5
    assert phases.updates == {"a": 5}  # phases of one name are counted together
    assert not phases.diverged


def test_weights_that_are_not_finite_are_noticed():
    module, phases = Counter(), Phases()
    phases.add(counting(Phase(1, 1.0)), Trained(module, 1))
    assert not phases.diverged
    module.count.data.fill_(torch.nan)
    phases.add(counting(Phase(1, 1.0)), Trained(module, 1))
    assert phases.diverged


def test_nothing_to_train_is_a_run_too():
    def steps():
        return 7
        yield

    assert follow(logged(steps(), Phases())) == 7


# Networks: frozen blocks and dropout


def network(settings=NETWORK):
    return Network(settings, 3, torch.Generator().manual_seed(0)).eval()


def cross_entropy(module, batch, numbers, choices):
    return nn.functional.cross_entropy(
        module(batch.clips.features, batch.clips.keep), batch.clips.labels
    )


def learning(frozen_blocks=0, updates=3, seed=0, settings=NETWORK, start=None, **more):
    """A Fit of a network on 30 easy clips, with 12 validation clips."""
    clips, held = blobs(10, 3, 0), blobs(4, 3, 1)
    table = Table({"features": clips.features, "labels": clips.labels}, 8)
    validation = Validation(
        {"features": held.features, "labels": held.labels}, lambda module, x: module(x)
    )
    fields = {
        "network": start or network(settings), "tables": {"clips": table}, "loss": cross_entropy,
        "phase": phase(updates, patience=updates), "sgd": SGD, "seeds": Seeds(seed, 1),
        "validation": validation, "frozen_blocks": frozen_blocks,
    }  # fmt: skip
    return Fit("a", **fields | more)


def test_frozen_blocks_keep_their_weights_and_statistics():
    fit = learning(frozen_blocks=3)
    before, after = fit.network.state_dict(), train(fit).module.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith(("blocks.3.", "head."))}
    assert any("running_mean" in name for name in changed)


@pytest.mark.parametrize("updates", [1, 9])
def test_the_maps_of_frozen_blocks_are_computed_once_per_phase(updates):
    passed = {0: 0, 3: 0}
    start = network()
    for block in passed:
        start.blocks[block][0].register_forward_hook(
            lambda layer, inputs, output, block=block: passed.update(
                {block: passed[block] + len(inputs[0])}
            )
        )
    train(learning(frozen_blocks=3, updates=updates, start=start))
    assert passed[0] == 30 + 12  # every clip once, however long the phase
    assert passed[3] >= updates * (8 + 12)  # and what learns at each update and check


def test_the_first_blocks_frozen_learn_the_same_as_in_one_pass():
    """By hand: the whole network, its first blocks in eval mode."""
    quiet = replace(NETWORK, dropout=0.0)
    fit = learning(frozen_blocks=3, settings=quiet, validation=None)
    found = train(fit).module
    assert found.first == 0 and all(p.requires_grad for p in found.parameters())
    byhand = copy.deepcopy(fit.network)
    train_mode(byhand, 3)
    sgd = torch.optim.SGD([p for p in byhand.parameters() if p.requires_grad], 0.1, 0.9)
    for batch in batches_of(learning(settings=quiet), 3):
        sgd.zero_grad()
        cross_entropy(byhand, batch, None, None).backward()
        sgd.step()
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, byhand.state_dict()[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("frozen_blocks", [0, 3, 4])
@pytest.mark.parametrize("updates", [0, 3])
def test_the_network_of_a_fit_is_not_changed(frozen_blocks, updates):
    fit = learning(frozen_blocks, updates)
    before, was = copy_state(fit.network), repr([m.training for m in fit.network.modules()])
    module = train(fit).module
    assert module is not fit.network and not module.training
    assert all(torch.equal(before[name], v) for name, v in fit.network.state_dict().items())
    assert repr([m.training for m in fit.network.modules()]) == was and fit.network.first == 0
    assert all(p.requires_grad and p.grad is None for p in fit.network.parameters())
    shared = {p.data_ptr() for p in fit.network.parameters()}
    assert shared.isdisjoint(p.data_ptr() for p in module.parameters())


def keeps(fit, n=3):
    return torch.stack([batch.clips.keep for batch in batches_of(fit, n)])


def test_dropouts_factors_are_0_or_1_over_what_is_kept():
    found = keeps(learning(settings=replace(NETWORK, dropout=0.75)), 70)
    assert found.shape == (70, 8, 8, 2, 2)  # updates, clips, channels, and the last maps' sides
    assert sorted(set(found.flatten().tolist())) == [0.0, 4.0]
    assert (found > 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert len({tuple(update.flatten().tolist()) for update in found}) == 70
    assert len({tuple(clip.flatten().tolist()) for clip in found.flatten(0, 1)}) > 550


def test_without_dropout_there_are_no_factors():
    fit = learning(settings=replace(NETWORK, dropout=0.0))
    assert [batch.clips.keep for batch in batches_of(fit, 2)] == [None, None]


def test_dropouts_factors_come_from_the_runs_own_generator():
    fits = [learning(seed=seed) for seed in (0, 1, 2)]
    alone = keeps(fits[0])
    torch.rand(7)
    state = torch.get_rng_state()
    others = [keeps(fit) for fit in fits[1:]]
    assert torch.equal(keeps(fits[0]), alone)
    assert torch.equal(torch.get_rng_state(), state)  # nothing else is drawn from
    assert not any(torch.equal(other, alone) for other in others)
    assert not torch.equal(keeps(replace(fits[0], name="b")), alone)


def test_a_run_gives_the_same_result_alone_and_after_other_runs():
    alone = train(learning()).module.state_dict()
    for seed in (1, 2):
        train(learning(seed=seed))
    again = train(learning()).module.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in alone.items())


def test_dropout_applies_only_in_training():
    """What is checked is the network without it."""
    seen = []

    def logits(module, rows):
        seen.append((module.training, module(rows), module(rows)))
        return module(rows)

    fit = learning()
    train(replace(fit, validation=replace(fit.validation, logits=logits)))
    assert len(seen) == 3 and not any(training for training, *_ in seen)
    assert all(torch.equal(one, two) for _, one, two in seen)


# The base step


TASKS = [(0, 1, 2, 3), (0, 1, 2), (1, 3)]


def base_fit(passes, base_training, seed=0, tasks=TASKS, updates=30, **more):
    """The generator of a base step on 80 easy clips, and the one Fit that it yields."""
    train_clips, validation = blobs(20, 4, 1), blobs(4, 4, 2)
    plan = BasePlan(tasks, passes, NETWORK, base_training, phase(updates), **more)
    steps = learn_base(train_clips, validation, plan, Seeds(seed, 0))
    return steps, next(steps)


def base(*args, **more):
    steps, fit = base_fit(*args, **more)
    with pytest.raises(StopIteration) as ended:
        steps.send(train(fit).module)
    return ended.value.value


@pytest.mark.parametrize("passes", ["separate", "shared"])
def test_the_base_step_learns_classes_that_are_easy_to_tell_apart(passes, base_training):
    model = base(passes, base_training)
    test = blobs(20, 4, 3)
    assert model.n_classes == 4 and not model.training and isinstance(model, Network)
    assert score(model(test.features), test.labels)[0] > 0.9


@pytest.mark.parametrize("passes", ["separate", "shared"])
def test_same_seed_same_weights_other_seed_other_weights(passes, base_training):
    first, again, other = (base(passes, base_training, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_with_one_task_separate_and_shared_are_the_same(base_training):
    one = [(0, 1, 2, 3)]
    separate = base("separate", base_training, tasks=one).state_dict()
    shared = base("shared", base_training, tasks=one).state_dict()
    for name, value in separate.items():
        torch.testing.assert_close(value, shared[name], rtol=1e-3, atol=1e-4)


def test_other_tasks_change_the_backbone(base_training):
    single = base("shared", base_training, tasks=TASKS[:1]).state_dict()
    multi = base("shared", base_training).state_dict()
    assert not torch.equal(single["blocks.0.0.weight"], multi["blocks.0.0.weight"])


def test_each_task_draws_rows_of_its_own_classes_in_proportion_to_them(base_training):
    _, fit = base_fit("separate", base_training)
    assert [(name, t.share, len(t)) for name, t in fit.tables.items()] == [
        ("full", 16, 80), ("task0", 12, 60), ("task1", 8, 40),
    ]  # fmt: skip
    clips = blobs(20, 4, 1)
    for name, task in (("task0", (0, 1, 2)), ("task1", (1, 3))):
        rows = fit.tables[name].rows
        members = torch.cat([torch.arange(20 * c, 20 * c + 20) for c in task])
        assert torch.equal(rows["features"], clips.features[members])
        assert rows["labels"].tolist() == [k for k in range(len(task)) for _ in range(20)]
    _, fit = base_fit("shared", base_training)
    assert list(fit.tables) == ["full"] and fit.clips_per_update == 16


def test_early_stopping_looks_at_the_full_head(base_training):
    _, fit = base_fit("separate", base_training)
    held = blobs(4, 4, 2)
    assert torch.equal(fit.validation.rows["features"], held.features)
    logits = fit.validation.logits(fit.network, held.features)
    assert torch.equal(logits, fit.network.network(held.features)) and logits.shape == (16, 4)


@pytest.mark.parametrize("passes", ["separate", "shared"])
@pytest.mark.parametrize(
    ("reduction", "total"),
    [
        # Heads of zeros: each loss is the logarithm of its number of classes. Weight 0.6.
        ("mean", log(4) + 0.6 * (log(3) + log(2)) / 2),
        ("sum", log(4) + 0.6 * (log(3) + log(2))),
    ],
)
def test_the_smaller_tasks_losses_are_averaged_or_summed_by_hand(
    passes, reduction, total, base_training
):
    settings = replace(base_training, task_weight=0.6, task_reduction=reduction)
    _, fit = base_fit(passes, settings)
    (batch,) = batches_of(fit, 1)
    assert set(batch.full.labels.tolist()) == {0, 1, 2, 3}  # each head has rows
    module = copy.deepcopy(fit.network)
    for head in (module.network.head, module.others):
        nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    numbers = SimpleNamespace(**fit.numbers)
    assert fit.loss(module, batch, numbers, fit.choices).item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_one_task_has_no_smaller_ones_to_average(reduction, base_training):
    for passes in ("separate", "shared"):
        _, fit = base_fit(passes, replace(base_training, task_reduction=reduction), tasks=TASKS[:1])
        (batch,) = batches_of(fit, 1)
        module = copy.deepcopy(fit.network)
        nn.init.zeros_(module.network.head.weight), nn.init.zeros_(module.network.head.bias)
        value = fit.loss(module, batch, SimpleNamespace(**fit.numbers), fit.choices)
        assert value.item() == pytest.approx(log(4), rel=1e-5)


def statistics_of(module):
    state = module.network.state_dict()
    return {name: value.clone() for name, value in state.items() if "running" in name}


def test_whose_batches_move_the_running_statistics(base_training):
    """`full_task`: the statistics are those of the full task's batches alone."""
    found = {}
    for statistics in ("full_task", "all_tasks"):
        _, fit = base_fit("separate", replace(base_training, statistics=statistics))
        (batch,) = batches_of(fit, 1)
        module = copy.deepcopy(fit.network).train()
        fit.loss(module, batch, SimpleNamespace(**fit.numbers), fit.choices).backward()
        found[statistics] = statistics_of(module)
    alone = copy.deepcopy(fit.network).train()
    alone.network(batch.full.features, batch.full.keep)
    wanted = statistics_of(alone)
    start = statistics_of(fit.network)
    assert all(torch.equal(found["full_task"][name], value) for name, value in wanted.items())
    for rows in (batch.task0, batch.task1):  # one after the other, as all_tasks does
        alone.network.embed(rows.features, rows.keep)
    wanted = statistics_of(alone)
    for name, value in found["all_tasks"].items():
        torch.testing.assert_close(value, wanted[name])
        assert not torch.equal(value, found["full_task"][name])
        assert not torch.equal(found["full_task"][name], start[name])


def test_the_setting_decides_what_a_whole_base_step_leaves_behind(base_training):
    both = [
        base("separate", replace(base_training, statistics=name), updates=5).state_dict()
        for name in ("full_task", "all_tasks")
    ]
    # Weights in training come from the batch's own statistics, so that they are the same.
    for name, value in both[0].items():
        if "running" in name or "tracked" in name:
            assert not torch.equal(value, both[1][name])
        else:
            torch.testing.assert_close(value, both[1][name], rtol=1e-3, atol=1e-4)


def clip_of(features):
    """Which of the 80 clips each row is."""
    clips = blobs(20, 4, 1).features.flatten(1)
    return torch.cdist(features.flatten(1), clips).argmin(1).tolist()


def test_shuffled_labels_reach_every_head_but_the_full_one(base_training):
    true = blobs(20, 4, 1).labels
    _, plain = base_fit("separate", base_training)
    _, control = base_fit("separate", base_training, shuffled_labels=True)
    for name in ("features", "labels"):
        assert torch.equal(control.tables["full"].rows[name], plain.tables["full"].rows[name])
    labels: dict[int, int] = {}
    for k, task in enumerate(TASKS[1:]):
        rows, usual = control.tables[f"task{k}"].rows, plain.tables[f"task{k}"].rows
        assert torch.equal(rows["labels"].bincount(), usual["labels"].bincount())
        for clip, place in zip(clip_of(rows["features"]), rows["labels"].tolist(), strict=True):
            assert labels.setdefault(clip, task[place]) == task[place]  # one label for all heads
    assert len(labels) == 80  # the same number of each class
    wrong = sum(true[clip].item() != label for clip, label in labels.items())
    assert 40 < wrong < 80


def test_a_shuffled_label_decides_whose_clip_it_is_and_what_is_learnt():
    clips = blobs(20, 4, 1)
    labels = clips.labels.flip(0)  # a clip of class 0 counts as class 3
    table = _tables_of_tasks(clips.features, labels, [(0, 1, 2, 3), (1, 3)], 16)["task0"]
    found = clip_of(table.rows["features"])
    true = clips.labels[found]
    assert set(true.tolist()) == {0, 2} and len(found) == len(set(found)) == 40
    assert torch.equal(table.rows["labels"], (true == 0).long())  # class 3 is at place 1


def test_a_task_of_few_classes_has_two_rows_for_batchnorm():
    clips = blobs(5, 4, 1)
    tables = _tables_of_tasks(clips.features, clips.labels, [(0, 1, 2, 3), (1, 3)], 2)
    assert tables["task0"].share == 2


def test_the_network_of_a_base_step_is_what_the_executor_sends_back(base_training):
    steps, fit = base_fit("separate", base_training)
    trained = Trained(copy.deepcopy(fit.network), 1)
    with pytest.raises(StopIteration) as ended:
        steps.send(trained.module)
    assert ended.value.value is trained.module.network
