"""Claims about base models: the abstract, Figures 4 and 5, and our controls of the explanation."""

from mtcil.reporting import paper
from mtcil.reporting.claims.scope import Measure, Scope, nothing
from mtcil.reporting.claims.verdicts import Claim
from mtcil.settings.sections import Heads


def shape(heads: str) -> str:
    """Kind of the tasks other than the full one: none, copies of it, equal, different or mixed."""
    sizes = None if heads == "all" else Heads.parse(heads, int(heads.split("-")[0])).sizes
    if sizes is None:
        return "mixed"
    full, *others = sizes
    if not others:
        return "none"
    if full in others:
        return "copies" if set(others) == {full} else "mixed"
    if len(set(others)) == len(others):
        return "different"
    return "equal" if len(set(others)) == 1 else "mixed"


def abstract(scope: Scope) -> list[Claim]:
    """Multitask against single task."""
    heads = scope.multitask
    gain = _base(scope, heads) - _base(scope, scope.single)
    printed = paper.FIGURE_4B_GAIN.get(scope.kind)
    figure_4b = f"; Figure 4b prints {printed}" if printed else ""
    return [
        scope.claim(
            "abstract.gain", "abstract, Figures 4b and 5",
            f"multitask ({heads}) improves over the single task, on average{figure_4b}", "above",
            gain, paper=paper.LARGEST_GAIN.get(scope.kind),
        ),
    ]  # fmt: skip


def figure_4(scope: Scope) -> list[Claim]:
    """Gain from the number, sizes and kinds of the tasks, always against the same single task."""
    by_shape: dict[str, list[str]] = {"equal": [], "different": [], "copies": []}
    for heads in scope.plain_bases():
        by_shape.setdefault(shape(heads), []).append(heads)
    for group in by_shape.values():
        group.sort(key=lambda heads: heads.count("-"))
    different = by_shape["different"]
    others = [heads for heads in different if heads != scope.multitask]
    claims = [
        scope.claim(
            f"figure4a.{heads}", "Figure 4a", f"tasks of equal size ({heads}): no consistent gain",
            "no gain", _gain(scope, heads),
        )
        for heads in by_shape["equal"] or ["none"]
    ]  # fmt: skip
    claims += [
        scope.claim(
            f"figure4b.{heads}", "Figure 4b", f"tasks of different sizes ({heads}) gain",
            "above", _gain(scope, heads),
        )
        for heads in others or ([] if different else ["none"])
    ]  # fmt: skip
    path = _one_by_one(scope, different)
    claims += [_grows(scope, path), _flattens(scope, path)]
    claims += _distinct(scope, different, by_shape["equal"])
    claims += [
        scope.claim(
            f"figure4.copies.{heads}", "text",
            f"every task holds all classes ({heads}): as the single task", "equal",
            _gain(scope, heads),
        )
        for heads in by_shape["copies"] or ["none"]
    ]  # fmt: skip
    return claims


def _one_by_one(scope: Scope, different: list[str]) -> list[str]:
    """One heads setting for each number of tasks: those that lead to multitask come first."""
    chosen: dict[int, str] = {}
    for heads in sorted(different, key=lambda heads: not scope.multitask.startswith(heads)):
        chosen.setdefault(heads.count("-"), heads)
    return [chosen[n_others] for n_others in sorted(chosen)]


def _grows(scope: Scope, different: list[str]) -> Claim:
    text, ours = "the gain grows with the number of tasks", nothing("two sets of different tasks")
    if len(different) > 1:
        ours = _base(scope, different[-1]) - _base(scope, different[0])
        text += f" ({different[-1]} minus {different[0]})"
    return scope.claim("figure4b.grows", "Figure 4b", text, "above", ours)


def _flattens(scope: Scope, different: list[str]) -> Claim:
    """The first task added gains more than the last one."""
    text, ours = "the gain flattens: the first task added gains more than the last", None
    path = [scope.single, *different]
    if len(path) > 2:
        second, first, before, last = (
            _base(scope, heads) for heads in (path[1], path[0], path[-2], path[-1])
        )
        ours = (second - first) - (last - before)
    ours = ours or nothing("two sets of different tasks")
    return scope.claim("figure4b.flattens", "Figure 4b", text, "above", ours)


def _distinct(scope: Scope, different: list[str], equal: list[str]) -> list[Claim]:
    """More distinct tasks against the same number of similar ones."""
    text = "more distinct tasks help more than similar ones"
    pairs = [(d, e) for d in different for e in equal if d.count("-") == e.count("-")]
    claims = [
        scope.claim(
            f"figure4.distinct.{d}.{e}", "Figure 4", f"{text} ({d} minus {e})", "above",
            _base(scope, d) - _base(scope, e),
        )
        for d, e in pairs
    ]  # fmt: skip
    missing = nothing("equally many tasks, different and equal")
    return claims or [scope.claim("figure4.distinct", "Figure 4", text, "above", missing)]


def figure_5(scope: Scope) -> list[Claim]:
    """Single task and multitask by K; the plateau is at the dataset's own K, as in the paper."""
    plain, own = scope.plain_bases(), scope.settings.exemplars
    swept_bases = scope.bases_in("exemplar_sweeps")
    bases = [plain.get(heads, "") for heads in (scope.multitask, scope.single)]
    names = [base if base in swept_bases else None for base in bases]
    sweep = scope.study.exemplar_sweeps.get(scope.dataset)
    budgets = [set(sweep.exemplars) if sweep and name else set() for name in names]
    shared = sorted(budgets[0] & budgets[1])

    def average(name: str | None, budget: int) -> Measure:
        if name is None:
            return nothing("a sweep of both")
        return scope.average("sweep_exemplars", name, exemplars=budget)

    def gain(budget: int) -> Measure:
        if budget not in shared:
            return nothing("a sweep of both with this K")
        return average(names[0], budget) - average(names[1], budget)

    smallest = gain(min(shared, default=0))
    text = "multitask and single task are equal at the smallest K"
    claims = [scope.claim("figure5.smallest", "Figure 5", text, "equal", smallest)]
    largest = shared[-1] if len(shared) > 1 and shared[-1] != own else None
    at_largest = gain(largest) if largest else nothing("a sweep of both to another K than its own")
    claims.append(
        scope.claim(
            "figure5.largest", "Figure 5",
            "multitask is above single task at the largest K" + (f", {largest}" if largest else ""),
            "above", at_largest,
        )
    )  # fmt: skip
    for word, name, swept in zip(("multitask", "single"), names, budgets, strict=True):
        beyond = min((k for k in swept if k > own), default=None)
        rise = nothing(f"a sweep of {word} to K above {own}")
        if own in swept and beyond is not None:
            rise = average(name, beyond) - average(name, own)
        text = f"plateau near K = {own}, {word}: no more at the next larger K"
        claims.append(scope.claim(f"figure5.plateau.{word}", "Figure 5", text, "equal", rise))
    return claims


def controls(scope: Scope) -> list[Claim]:
    """Predictions of the paper's explanation that the paper does not test."""
    heads, n = scope.multitask, scope.single
    multitask = _base(scope, heads)
    longer = _base(scope, n, control="longer")
    shuffled = _base(scope, heads, control="shuffled_labels")
    shared = _base(scope, heads, passes="shared")
    every = _base(scope, "all", passes="shared")
    tests = (
        ("longer", f"multitask beats a single task trained as long ({n}, longer)", "above",
         multitask - longer),
        ("shuffled", "multitask beats tasks of shuffled labels", "above", multitask - shuffled),
        ("shared", "a pass shared by all heads is as good as separate ones", "equal",
         shared - multitask),
        ("all", "all subsets as tasks beat the multitask heads, if gain grows with tasks",
         "above", every - multitask),
    )  # fmt: skip
    return [
        scope.claim(f"control.{name}", "ours", text, test, ours) for name, text, test, ours in tests
    ]


def _base(
    scope: Scope, heads: str, passes: str = "separate", control: str | None = None
) -> Measure:
    """Average incremental accuracy from the base model with these heads."""
    row = scope.bases_with(passes, control).get(heads)
    if row is None:
        return nothing(f"base_models with heads {heads}, passes {passes}, control {control}")
    return scope.average("learn_steps", row)


def _gain(scope: Scope, heads: str) -> Measure:
    return _base(scope, heads) - _base(scope, scope.single)
