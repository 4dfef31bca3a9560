"""``cryoburst relion setup``: make RELION's own Run button send its jobs through cryoburst."""

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``cryoburst relion``."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="setup", prog=parser.prog)
    setup = verbs.add_parser("setup", help="write the submission template and print the lines for your shell")
    setup.add_argument(
        "--template",
        type=Path,
        metavar="FILE",
        help="where to write the template (relion_template.sh beside the settings, in ~/.config/cryoburst)",
    )
    setup.add_argument("--write", action="store_true", help="also put the lines into ~/.bashrc")


def run(options: argparse.Namespace) -> int:
    """Write the template; print the lines for the shell, or put them into ~/.bashrc."""
    import os
    import shutil
    import sys

    from cryoburst.model.errors import BadInput
    from cryoburst.packages.relion.setup import environment, shell_lines, write_lines, write_template
    from cryoburst.services.places import config_folder

    given: Path | None = options.template
    template = (given.expanduser() if given else config_folder() / "relion_template.sh").absolute()
    write_template(template)
    program = Path(sys.argv[0]).absolute()
    if program.name != "cryoburst":  # started as a module: the one on PATH, or beside this Python
        program = Path(shutil.which("cryoburst") or Path(sys.executable).with_name("cryoburst"))
    if not program.is_file():
        raise BadInput("the program cryoburst is not installed", where=str(program), advice="install it with pip")
    lines = shell_lines(environment(program, template, os.environ))
    if not options.write:
        print("\n".join(lines))
        print(
            f"The template is {template}. Put the lines above into ~/.bashrc, or run this with --write.",
            file=sys.stderr,
        )
        return 0
    profile = Path("~/.bashrc").expanduser()
    changed = write_lines(profile, lines)
    print(f"{profile} {'now has' if changed else 'already had'} the lines for RELION; the template is {template}.")
    print("Open a new terminal and start RELION there: the Running tab has 'Submit to queue' set to Yes.")
    return 0
