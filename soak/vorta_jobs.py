"""Vorta without a screen: its jobs, one after the other, on whatever is called `borg` on the PATH.

Started by soak/around with the interpreter that has Vorta; `python vorta_jobs.py FOLDER LOCATION`. Prints a
JSON object a job: what ran, its exit code, what Vorta made of the output, and what is wrong with that.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peewee import SqliteDatabase
from PyQt6.QtCore import QDateTime, QEventLoop, QModelIndex, Qt, QTimer
from vorta import application, config
from vorta.borg.break_lock import BorgBreakJob
from vorta.borg.change_passphrase import BorgChangePassJob
from vorta.borg.check import BorgCheckJob
from vorta.borg.compact import BorgCompactJob
from vorta.borg.create import BorgCreateJob
from vorta.borg.delete import BorgDeleteJob
from vorta.borg.diff import BorgDiffJob
from vorta.borg.extract import BorgExtractJob
from vorta.borg.info_archive import BorgInfoArchiveJob
from vorta.borg.info_repo import BorgInfoRepoJob
from vorta.borg.init import BorgInitJob
from vorta.borg.list_archive import BorgListArchiveJob
from vorta.borg.list_repo import BorgListRepoJob
from vorta.borg.mount import BorgMountJob
from vorta.borg.prune import BorgPruneJob
from vorta.borg.rename import BorgRenameJob
from vorta.borg.umount import BorgUmountJob
from vorta.borg.version import BorgVersionJob
from vorta.store.connection import init_db
from vorta.store.models import ArchiveModel, BackupProfileModel, RepoModel, SourceFileModel
from vorta.utils import borg_compat, get_mount_points
from vorta.views.dialogs.archive import diff_result, extract

PASSPHRASE, CHANGED = "a secret", "another secret"


class Wrong(Exception):
    """Vorta did not get what it needs."""


def expect(holds: object, what: str) -> None:
    if not holds:
        raise Wrong(what)


class Vorta:
    """The application with its windows, database and one profile, and the jobs on it."""

    def __init__(self, folder: Path, location: str) -> None:
        self.folder, self.location = folder, location
        config.init_dev_mode(folder / "vorta")
        init_db(SqliteDatabase(config.SETTINGS_DIR / "settings.db"))
        sys.argv = sys.argv[:1]
        self.app = application.VortaApp(sys.argv)  # it needs the database
        self.logged: list[tuple[str, str | None]] = []
        self.progress: list[str] = []
        self.app.backup_log_event.connect(lambda text, more: self.logged.append((text, more.get("msgid"))))
        self.app.backup_progress_event.connect(self.progress.append)
        self.failures = 0

    @property
    def profile(self) -> BackupProfileModel:
        return BackupProfileModel.get()

    @property
    def repo(self) -> RepoModel:
        return RepoModel.get(url=self.location)

    def adding(self, **more: Any) -> dict[str, Any]:
        """What the dialog for a new or an existing repository hands on."""
        values = {"repo_url": self.location, "repo_name": "home", "password": PASSPHRASE, "ssh_key": None}
        return values | {"extra_borg_arguments": ""} | more

    def job(self, kind: Any, params: dict[str, Any], codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
        """Run it as its thread would; what it hands to the windows."""
        expect(params["ok"], f"not begun: {params.get('message')}")
        results: list[dict[str, Any]] = []
        job = kind(params["cmd"], params)
        job.result.connect(results.append)
        job.run()
        self.app.processEvents()
        self.code = results[0]["returncode"]
        expect(self.code in codes, f"exit code {self.code}: {results[0]['errors']} {self.logged[-3:]}")
        if self.code == 0 and kind is not BorgInitJob:  # whose advice is a warning
            expect(not results[0]["errors"], f"warnings: {results[0]['errors']}")
        return results[0]

    def play(self, name: str, what: Callable[[], object]) -> None:
        """Vorta's windows show what it got: the last of it is in `seen`."""
        self.logged.clear()
        self.progress.clear()
        self.code = None
        problem, seen = None, None
        try:
            seen = what()
        except Exception as error:  # noqa: BLE001  # Vorta's own, too, are what is looked for
            problem = f"{type(error).__name__}: {error}"
            self.failures += 1
        told = {"job": name, "code": self.code, "seen": seen, "problem": problem}
        print(json.dumps(told | {"msgids": sorted({msgid for _, msgid in self.logged if msgid})}), flush=True)

    def names(self) -> list[str]:
        return [archive.name for archive in ArchiveModel.select().order_by(ArchiveModel.name)]

    def without_time(self, line: str) -> str:
        return line.removeprefix(f"[{self.profile.name}] ")


def played(vorta: Vorta) -> None:
    src = vorta.folder / "src"
    play = vorta.play
    play("version", lambda: version(vorta))
    play("init", lambda: init(vorta))
    play("add an existing one", lambda: add_existing(vorta))
    play("add with a wrong passphrase", lambda: add_wrong(vorta))
    play("create", lambda: create(vorta, "first", src))
    change(src)
    play("create once more", lambda: create(vorta, "second", src))
    play("create with a warning", lambda: create_warned(vorta, src))
    play("create by the application", lambda: create_by_the_application(vorta, src))
    play("list the repository", lambda: list_repository(vorta))
    play("info of an archive", lambda: info_archive(vorta))
    play("diff", lambda: diff(vorta))
    play("list an archive, extract", lambda: list_and_extract(vorta))
    if os.path.exists("/dev/fuse"):
        play("mount an archive", lambda: mount(vorta, "first"))
        play("mount the repository", lambda: mount(vorta, None))
    play("rename", lambda: rename(vorta))
    play("delete", lambda: delete(vorta))
    play("prune", lambda: prune(vorta))
    play("compact", lambda: plain(vorta, BorgCompactJob))
    play("check", lambda: plain(vorta, BorgCheckJob))
    play("break the lock", lambda: plain(vorta, BorgBreakJob))
    play("change the passphrase", lambda: change_passphrase(vorta))
    play("no such repository", lambda: missing(vorta))


def change(src: Path) -> None:
    (src / "folder/file1").write_text("changed\n")
    (src / "folder/file2").unlink()
    (src / "folder/new").mkdir()
    (src / "folder/new/file").write_text("new\n")
    (src / "pipe").unlink()
    (src / "folder/file3").chmod(0o600)
    (src / "link").unlink()
    (src / "link").symlink_to("folder/file4")


def version(vorta: Vorta) -> object:
    result = vorta.job(BorgVersionJob, BorgVersionJob.prepare())
    borg_compat.set_version(**result["data"])
    expect(borg_compat.check("V122") and not borg_compat.check("V2"), "not taken for a Borg 1.4")
    return result["data"]["version"]


def init(vorta: Vorta) -> object:
    vorta.job(BorgInitJob, BorgInitJob.prepare(vorta.adding(encryption="repokey-blake2")))
    return {"encryption": vorta.repo.encryption, "said": [text for text, _ in vorta.logged]}


def add_existing(vorta: Vorta) -> object:
    """Vorta forgets the repository first; it knows no encryption then but what it is told."""
    vorta.repo.delete_instance()
    vorta.job(BorgInfoRepoJob, BorgInfoRepoJob.prepare(vorta.adding()))
    profile = vorta.profile
    profile.repo = vorta.repo
    profile.compression = "zstd,3"
    profile.exclude_if_present = "[x] .nobackup"
    profile.new_archive_name = "archive"
    profile.save()
    expect(vorta.repo.encryption.startswith("repokey"), vorta.repo.encryption)
    return {"total": vorta.repo.total_size, "chunks": vorta.repo.total_unique_chunks}


def add_wrong(vorta: Vorta) -> object:
    params = BorgInfoRepoJob.prepare(vorta.adding(password="wrong"))
    result = vorta.job(BorgInfoRepoJob, params, codes=(2,))
    expect(result["errors"], "no error is told")
    return bool(result["errors"])


def create(vorta: Vorta, name: str, src: Path, codes: tuple[int, ...] = (0,)) -> object:
    profile = vorta.profile
    profile.new_archive_name = name
    profile.save()
    if not SourceFileModel.select().count():
        SourceFileModel(dir=str(src), dir_size=0, dir_files_count=0, profile=profile).save()
    result = vorta.job(BorgCreateJob, BorgCreateJob.prepare(vorta.profile), codes)
    archive = ArchiveModel.get(name=name)
    expect(archive.snapshot_id == result["data"]["archive"]["id"], "the id differs")
    expect(archive.duration is not None and archive.size, "no duration or no size")
    expect(vorta.repo.total_size and vorta.repo.unique_size and vorta.repo.total_unique_chunks, "no totals")
    listed = [vorta.without_time(text) for text, _ in vorta.logged if text.endswith((" (A)", " (M)"))]
    expect(listed, "no file is listed")
    expect(not any("not wanted" in text or ".o (" in text for text in listed), f"excluded: {listed}")
    return {
        "listed": len(listed),
        "first": listed[0],
        "progress": [vorta.without_time(text).split(":")[0] for text in vorta.progress][1:2],
    }


def create_warned(vorta: Vorta, src: Path) -> object:
    """Of two sources one is gone."""
    SourceFileModel(dir=str(src / "gone"), dir_size=0, dir_files_count=0, profile=vorta.profile).save()
    seen = create_again(vorta, src)
    SourceFileModel.delete().where(SourceFileModel.dir == str(src / "gone")).execute()
    expect(vorta.code == 1, f"exit code {vorta.code}")
    expect(any("warnings" in text for text in vorta.progress), vorta.progress)
    return seen


def create_again(vorta: Vorta, src: Path) -> object:
    (src / "folder/more").write_text("more\n")
    return create(vorta, "third", src, (0, 1))


def create_by_the_application(vorta: Vorta, src: Path) -> object:
    """As its timer, its window and `vorta --create PROFILE` do: a thread of its own runs the job."""
    profile = vorta.profile
    profile.new_archive_name = "fourth"
    profile.save()
    (src / "folder/yet another").write_text("more\n")
    ended: list[dict[str, Any]] = []
    loop = QEventLoop()
    vorta.app.backup_finished_event.connect(ended.append)
    vorta.app.backup_finished_event.connect(lambda result: loop.quit())
    QTimer.singleShot(60_000, loop.quit)
    vorta.app.create_backups_cmdline(profile.name)
    loop.exec()
    expect(ended, "it never ended")
    vorta.code = ended[0]["returncode"]
    expect(vorta.code == 0, ended[0]["errors"])
    expect("fourth" in vorta.names(), vorta.names())
    return vorta.without_time(vorta.progress[-1])


def list_repository(vorta: Vorta) -> object:
    """Into a database that knows of none."""
    ids = {archive.snapshot_id for archive in ArchiveModel.select()}
    ArchiveModel.delete().execute()
    vorta.job(BorgListRepoJob, BorgListRepoJob.prepare(vorta.profile))
    expect(ids == {archive.snapshot_id for archive in ArchiveModel.select()}, "the ids differ")
    expect(all(archive.time for archive in ArchiveModel.select()), "an archive has no time")
    return vorta.names()


def info_archive(vorta: Vorta) -> object:
    vorta.job(BorgInfoArchiveJob, BorgInfoArchiveJob.prepare(vorta.profile, "second"))
    archive = ArchiveModel.get(name="second")
    expect(archive.size is not None and archive.duration is not None, "no size or no duration")
    expect(vorta.repo.unique_size, "no totals")
    return "size and duration"


def tree(model: Any) -> list[Any]:
    """All items of a dialog's tree."""
    found, indexes = [], [QModelIndex()]
    while indexes:
        index = indexes.pop()
        for row in range(model.rowCount(index)):
            indexes.append(model.index(row, 0, index))
            found.append(indexes[-1].internalPointer())
    return found


def diff(vorta: Vorta) -> object:
    result = vorta.job(BorgDiffJob, BorgDiffJob.prepare(vorta.profile, "first", "second"))
    model = diff_result.DiffTree()
    diff_result.ParseThread(result["data"], result["params"]["json_lines"], model).run()
    older, newer = (ArchiveModel.get(name=name) for name in ("first", "second"))
    diff_result.DiffResultDialog(newer, older, model)
    seen = {}
    for item in tree(model):
        if item.data is not None and item.data.change_type is not None:
            times = item.data.mtime_change or (QDateTime.currentDateTime(),)
            expect(all(time.isValid() for time in times), f"{item.path}: no time that Qt reads")
            seen["/".join(item.path).split("/src/", 1)[-1]] = [
                item.data.change_type.name,
                item.data.file_type.name,
                item.data.mode_change and list(item.data.mode_change),
            ]
    return dict(sorted(seen.items()))


def list_and_extract(vorta: Vorta) -> object:
    """The listing's dialog is where a user ticks what to restore."""
    result = vorta.job(BorgListArchiveJob, BorgListArchiveJob.prepare(vorta.profile, "first"))
    model = extract.ExtractTree()
    extract.ParseThread(result["data"], model).run()
    extract.ExtractDialog(ArchiveModel.get(name="first"), model)
    items = [item for item in tree(model) if item.data is not None]
    listed = [item for item in items if isinstance(item.data.last_modified, QDateTime)]  # parents are made up
    expect(listed and all(item.data.health for item in listed), "an item is not sound")
    expect(all(item.data.last_modified.isValid() for item in listed), "a time that Qt cannot read")
    kinds = sorted({item.data.file_type.name for item in listed})
    for item in items:
        if item.subpath in ("file1", "with space"):
            item.data.checkstate = Qt.CheckState.Checked
    out = vorta.folder / "out"
    out.mkdir()
    vorta.job(BorgExtractJob, BorgExtractJob.prepare(vorta.profile, "first", model, str(out)))
    restored = sorted(path.name for path in out.rglob("*") if path.is_file())
    expect(restored == ["file1", "with space"], f"restored: {restored}")
    return {"kinds": kinds, "listed": len(listed), "restored": restored}


def mount(vorta: Vorta, archive: str | None) -> object:
    """Vorta looks for the mount among the processes, and among the mounts before it unmounts."""
    point = vorta.folder / "mnt"
    point.mkdir(exist_ok=True)
    params = BorgMountJob.prepare(vorta.profile, archive=archive)
    params["cmd"].append(str(point))
    params["mount_point"] = str(point)
    vorta.job(BorgMountJob, params)
    seen = sorted(os.listdir(point))
    archives, repositories = get_mount_points(vorta.location)
    try:
        if archive is None:
            expect(repositories == [str(point)], f"the mount is not found: {repositories}")
            expect("second" in seen, seen)
        else:
            expect(archives == {archive: str(point)}, f"the mount is not found: {archives}")
            expect(any(point.rglob("file1")), seen)
    finally:
        params = BorgUmountJob.prepare(vorta.profile, str(point), archive_name=archive)
        if not params["ok"]:
            os.system(f"umount '{point}'")
    vorta.job(BorgUmountJob, params)
    expect(not os.path.ismount(point), "it is still mounted")
    return "found, unmounted"


def rename(vorta: Vorta) -> object:
    vorta.job(BorgRenameJob, BorgRenameJob.prepare(vorta.profile, "third", "renamed"))
    # as the window does: its id may have changed, and is asked for by name
    vorta.job(BorgInfoArchiveJob, BorgInfoArchiveJob.prepare(vorta.profile, "renamed"))
    return refreshed(vorta)


def refreshed(vorta: Vorta) -> object:
    vorta.job(BorgListRepoJob, BorgListRepoJob.prepare(vorta.profile))
    return vorta.names()


def delete(vorta: Vorta) -> object:
    vorta.job(BorgDeleteJob, BorgDeleteJob.prepare(vorta.profile, ["renamed", "fourth"]))
    return refreshed(vorta)


def prune(vorta: Vorta) -> object:
    profile = vorta.profile
    profile.prune_prefix = ""
    profile.prune_hour = profile.prune_week = profile.prune_month = profile.prune_year = 0
    profile.prune_day = 1
    profile.prune_keep_within = ""
    profile.save()
    vorta.job(BorgPruneJob, BorgPruneJob.prepare(vorta.profile))
    said = [vorta.without_time(text).split(":")[1].split("(")[0].strip() for text, _ in vorta.logged]
    return {"left": refreshed(vorta), "said": said}


def plain(vorta: Vorta, kind: Any) -> object:
    vorta.job(kind, kind.prepare(vorta.profile))
    return [vorta.without_time(text) for text, _ in vorta.logged][:1]


def change_passphrase(vorta: Vorta) -> object:
    vorta.job(BorgChangePassJob, BorgChangePassJob.prepare(vorta.profile, CHANGED))
    return refreshed(vorta)  # with what Vorta now has in its keyring


def missing(vorta: Vorta) -> object:
    params = BorgInfoRepoJob.prepare(vorta.adding(repo_url=f"{vorta.location}-gone"))
    vorta.job(BorgInfoRepoJob, params, codes=(2,))
    expect(RepoModel.get_or_none(url=f"{vorta.location}-gone") is None, "it was added")
    return "refused"


if __name__ == "__main__":
    vorta = Vorta(Path(sys.argv[1]), sys.argv[2])
    played(vorta)
    sys.stdout.flush()
    os._exit(min(vorta.failures, 100))  # Qt's threads need no farewell
