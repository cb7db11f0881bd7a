"""The numbers that the paper prints and that ours are compared with, each with its source.

Dong Ma, Chi Ian Tang, Cecilia Mascolo: Improving Feature Generalizability with Multitask Learning
in Class Incremental Learning, ICASSP 2022.
"""

from typing import NamedTuple


class Data(NamedTuple):
    """The data of one of the paper's experiments (section 4.1)."""

    kind: str  # a file of mtcil/datasets
    classes: frozenset[str]
    steps: tuple[int, ...]  # classes per step
    budget: int  # K


COMMANDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SOUNDS = [
    *("air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling"),
    *("engine_idling", "gun_shot", "jackhammer", "siren", "street_music"),
]
GSC = Data("speech_commands", frozenset(COMMANDS + DIGITS), (5, 3, 3, 3, 3, 3), 200)
US8K = Data("urbansound8k", frozenset(SOUNDS), (4, 2, 2, 2), 100)
GSC_CLIPS_PER_CLASS = 3200
SHARES = (0.7, 0.2, 0.1)  # of clips in training, test and validation

# Abstract and Figure 5: largest gain in average incremental accuracy over single task, points.
LARGEST_GAIN = {GSC.kind: 5.5, US8K.kind: 3.2}
# Figure 4b: largest gain from tasks of different sizes, points.
FIGURE_4B_GAIN = {GSC.kind: 5.0}

# Table 1: seconds per epoch of base training on GSC, by heads (RTX 2080).
TABLE_1 = {
    "5": 2.16,
    "5-4": 3.41,
    "5-4-3": 4.65,
    "5-4-3-2": 5.44,
    "5-4-4": 4.79,
    "5-4-4-4": 5.35,
    "5-4-4-4-4": 6.44,
    "5-4-4-4-4-4": 7.42,
}

ONE_HEAD = str(GSC.steps[0])
TABLE_1_RATIOS = {heads: seconds / TABLE_1[ONE_HEAD] for heads, seconds in TABLE_1.items()}

# Table 2: GSC, K = 200, percent after each number of classes seen, and the average. The average
# excludes the base step (checked on all six rows, within 0.011).
TABLE_2_COLUMNS = ("05", "08", "11", "14", "17", "20", "average")
TABLE_2 = {
    "CE_N": (96.97, 60.23, 43.79, 35.73, 29.46, 26.22, 39.09),
    "CE_N+KD_N": (97.08, 60.75, 43.34, 37.43, 36.20, 34.85, 42.52),
    "CE_N+CE_O": (97.25, 88.77, 79.07, 72.88, 72.82, 57.27, 74.16),
    "CE_N+CE_O+KD_N": (96.78, 84.65, 78.27, 77.91, 73.60, 72.55, 77.39),
    "CE_N+CE_O+KD_O": (97.12, 85.72, 80.64, 78.99, 74.30, 71.93, 78.32),
    "CE_N+CE_O+KD_N+KD_O": (97.35, 87.92, 81.47, 77.66, 73.80, 73.27, 78.82),
}

# Figure 2: the incremental step shown (the base step is 0), and the accuracy of old and of new
# classes by number of epochs, percent.
FIGURE_2_STEP = 2
FIGURE_2 = {"15": (91, 24), "45": (83, 82), "100": (86, 92)}
