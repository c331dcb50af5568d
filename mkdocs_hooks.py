"""What mkdocs calls: adds the pages that are made from the code, and redirects links."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs_site.commands import commands_page
from docs_site.components import components_page
from docs_site.links import redirected
from docs_site.recipes import recipes_page
from docs_site.studies import studies_page

_GENERATED = {
    "reference/commands.md": commands_page,
    "reference/components.md": components_page,
    "reference/studies.md": studies_page,
    "reference/recipes.md": recipes_page,
}
# Documents outside docs/, and their pages.
_FROM_REPOSITORY = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that docs/ does not hold."""
    repository = Path(config.config_file_path).parent
    for name, write in _GENERATED.items():
        files.append(File.generated(config, name, content=write()))
    for document, name in _FROM_REPOSITORY.items():
        text = (repository / document).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Redirects the links of a document; pages made from the code link to pages of the site."""
    target = page.file.src_uri
    if target in _GENERATED:
        return markdown
    origins = {name: document for document, name in _FROM_REPOSITORY.items()}
    documents = {f"docs/{file.src_uri}": file.src_uri for file in files}
    return redirected(
        markdown,
        source=origins.get(target, f"docs/{target}"),
        target=target,
        repository=Path(config.config_file_path).parent,
        address=config.extra["repository"],
        pages={**documents, **_FROM_REPOSITORY},
    )
