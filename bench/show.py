# SPDX-License-Identifier: GPL-2.0
"""Shows figures: a line for the terminal, tables for README.md and bench/README.md, and a picture."""
import subprocess

import boot
import figures

# File: does it show all rows?
READMES = {boot.HERE.parent / "README.md": False, boot.HERE / "README.md": True}
PICTURE = boot.HERE / "cost.svg"

BEGIN, END = "<!-- From here on bench/bench writes -->\n", "<!-- up to here. -->\n"
WIDTH = 58

# Percentages of each fill. An empty pool is the same for both fills.
POINTS = {"front": [("front", 0), *(("front", percent) for percent in figures.PERCENTS)],
          "board": [("front", 0), *(("board", percent) for percent in figures.PERCENTS)]}

# Data: a block for each core and fill, a column for each pool. A colour is a core, a symbol a pool.
PLOT = """\
set terminal svg size 1000,440 font 'sans-serif,13' background '#ffffff'
set output '{picture}'
set multiplot layout 1,2 margins 0.115,0.82,0.13,0.84 spacing 0.03,0 \
    title 'What it costs to allocate 4 KiB and to free it' font ',16'
set logscale y
set yrange [50:5e6]
set ytics ('100' 100, '1,000' 1e3, '10,000' 1e4, '100,000' 1e5, '1,000,000' 1e6)
set xrange [-4:104]
set xtics (0, 50, 90, 99)
set grid ytics lc rgb '#cccccc'
set xlabel 'pool in use (%)'
set ylabel 'instructions, logarithmic'
set title 'used at the front, free behind'
unset key
plot {front}
set title 'used and free by turns (checkerboard)'
unset ylabel
set ytics ('' 100, '' 1e3, '' 1e4, '' 1e5, '' 1e6)
set key at screen 0.83,0.83 left top Left reverse samplen 2 spacing 1.2
plot {board}
"""
COLOURS = {"stock": "#c03020", "ours": "#1060b0"}
SYMBOLS = {"64g": 5, "8g": 7, "1g": 9, "64m": 4}


def ratio(value):
    """A ratio as text."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value >= 0.005 else "<0.01"


def number(row, value, short=False):
    """A value in the row's unit as text; short: only the digits that are the same in every run."""
    if value is None:
        return "-"
    unit = {"bytes": " B", "%": " %"}.get(row["unit"], "")
    if row["unit"] == "times":
        return f"{value:.{1 if short else 2}f}"
    if short:
        return f"{float(f'{value:.3g}'):,.0f}{unit}"
    return f"{value:,.{0 if row['unit'] == 'bytes' else 1}f}{unit}"


def verdict(row, missed="MISSED"):
    """The row's targets, and whether they are met."""
    if row["ours"] is None:
        return row["none"]
    return "" if row["met"] is None else f"{', '.join(row['targets'])}: {'met' if row['met'] else missed}"


def line(title, row):
    """A row as a line for the terminal."""
    return (f"  {title:{WIDTH}} {number(row, row['ours']):>13} {number(row, row['beside']):>13} "
            f"{ratio(row['ratio']):>7}  {verdict(row)}").rstrip()


def table(rows, whole):
    """A Markdown table of (heading, Row, filled row): all rows, or the main ones."""
    lines = ["| | this core | stock | ratio | target |", "| --- | ---: | ---: | ---: | --- |"]
    last = None
    for heading, row, filled in rows:
        heading = heading.removesuffix(", beside stock")
        if not whole and not row.main:
            continue
        if whole and heading != last:
            lines.append(f"| **{heading}** | | | | |")
            last = heading
        title = row.title.strip() if whole else row.main
        lines.append(f"| {title} | {number(filled, filled['ours'], True)} | "
                     f"{number(filled, filled['beside'], True)} | {ratio(filled['ratio'])} | "
                     f"{verdict(filled, '**missed**')} |")
    return "\n".join(lines) + "\n"


def parts(readme):
    """The text before, between and after the two marks of a file."""
    before, begin, rest = readme.read_text().partition(BEGIN)
    between, end, after = rest.partition(END)
    if not begin or not end:
        raise boot.Error(f"{readme.relative_to(boot.HERE.parent)} lacks the lines '{BEGIN.strip()}' and '{END.strip()}'")
    return before, between, after


def write_readmes(rows):
    """Replaces the text between the two marks."""
    for readme, whole in READMES.items():
        before, _, after = parts(readme)
        readme.write_text(f"{before}{BEGIN}\n{table(rows, whole)}\n{END}{after}")


def draw(cores):
    """Draws cost against fill for each pool, of both cores."""
    folder = boot.BUILD / "bench"
    plots = {fill: [] for fill in POINTS}
    for fill, points in POINTS.items():
        for core, colour in COLOURS.items():
            for size, symbol in SYMBOLS.items():
                data = folder / f"{core}-{fill}-{size}.dat"
                data.write_text("".join(f"{percent} {cores[core][f'alloc_4k_{size}_{of}_{percent}']:.2f}\n"
                                        for of, percent in points))
                name = "this core" if core == "ours" else core
                plots[fill].append(f"'{data}' with linespoints lw 1.5 ps 0.7 pt {symbol} lc rgb '{colour}' "
                                   f"title '{name}, {figures.POOLS[size]}'")
    plot = PLOT.format(picture=PICTURE, **{fill: ", ".join(each) for fill, each in plots.items()})
    (folder / "cost.gnuplot").write_text(plot)
    drawn = subprocess.run(["gnuplot", str(folder / "cost.gnuplot")], stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, check=False)
    if drawn.returncode or drawn.stderr:
        raise boot.Error(f"gnuplot failed: {drawn.stderr.strip()}")
