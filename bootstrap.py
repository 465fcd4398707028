"""Set-up: installs all that Sluice needs into this checkout, once.  Standard library only; `make setup` runs it.

`.venv` holds the app and its tools, `.envs` the environments of workload and scoring image, and Azurite.  Indexes,
proxies and certificates are those that the machine is configured with for pip, uv and npm.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
ENVS = ROOT / ".envs"
STAMP = VENV / "sluice-setup.txt"
AZURITE = ENVS / "azurite"
NPM_FILES = ROOT / "localcloud" / "npm"
OLDEST, NEWEST = (3, 11), (3, 13)
NEEDED_GIGABYTES = 4
INPUTS = (
    "bootstrap.py",
    "pyproject.toml",
    "requirements.txt",
    "localcloud/npm/package-lock.json",
    "localcloud/environments.py",
    "localcloud/databricks_runtime.txt",
    "demand_forecasting/azureml/**/conda.y*ml",
    "demand_forecasting/scoring/requirements.lock",
)


class SetupFailed(Exception):
    """Something is missing; the message is one line with the fix."""


def main():
    """Set up unless nothing changed since the last time; the exit status."""
    try:
        check_python()
        if is_done():
            return 0
        ENVS.mkdir(exist_ok=True)
        with (ENVS / "setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_done():
                install()
    except SetupFailed as problem:
        sys.stderr.write("setup: %s\n" % problem)  # noqa: UP031 - must run, to say so, on Pythons that are too old
        return 1
    return 0


def check_python():
    """Refuse Pythons and systems that cannot work."""
    found = sys.version_info[:2]
    if not OLDEST <= found <= NEWEST:
        run_with_another_python()
        wanted = "Python %d.%d to %d.%d" % (OLDEST + NEWEST)  # noqa: UP031 - as above
        have = "this is %d.%d" % found  # noqa: UP031 - as above
        raise SetupFailed(wanted + " is needed and " + have + "; run `make PYTHON=/path/to/python3.11 setup`")
    if platform.system() not in {"Linux", "Darwin"}:
        raise SetupFailed(f"Linux or macOS is needed, this is {platform.system()}; on Windows use WSL")


def run_with_another_python():
    """Go on with a Python on the PATH that is in range, when there is one that works."""
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        other = shutil.which("python3.%d" % minor)  # noqa: UP031 - as above
        if other and subprocess.call([other, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(other, [other, *sys.argv])


def is_done():
    """Whether the last set-up finished with these inputs and its results are still there."""
    there = STAMP.exists() and (VENV / "bin" / "python").exists() and azurite_program().exists()
    return there and STAMP.read_text(encoding="utf-8") == fingerprint()


def fingerprint():
    """A hash of everything that decides what is installed."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode())
    for pattern in INPUTS:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def install():
    """All steps, each with a line that says how long it took."""
    check_disk()
    STAMP.unlink(missing_ok=True)
    with step("Python environment .venv"):
        make_venv()
    environment = installer_environment()
    with step("packages of the app and its tools"):
        uv_install(environment, "-r", "requirements.txt", "--group", "dev", "-e", ".")
    with step("storage emulator Azurite"):
        install_azurite(environment)
    with step("environments of the workload"):
        run([VENV / "bin" / "python", "-m", "localcloud.environments", "prepare"], env=environment)
    STAMP.write_text(fingerprint(), encoding="utf-8")


def check_disk():
    """Refuse to start what the disk cannot hold."""
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < NEEDED_GIGABYTES:
        raise SetupFailed(f"{NEEDED_GIGABYTES} GB of disk are needed under {ROOT} and {free:.1f} are free; free some")


def make_venv():
    """Make `.venv` with this Python, and put uv into it."""
    if not is_own_venv():
        shutil.rmtree(VENV, ignore_errors=True)
        try:
            run([sys.executable, "-m", "venv", VENV])
        except SetupFailed as problem:
            fix = "on Debian and Ubuntu: `sudo apt install python3-venv`"
            raise SetupFailed(f"this Python cannot make environments; {fix} ({problem})") from None
    if not (VENV / "bin" / "uv").exists():
        run([VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"])


def is_own_venv():
    """Whether `.venv` works and is of this Python's version."""
    probe = [str(VENV / "bin" / "python"), "-c", "import sys, pip; print(*sys.version_info[:2])"]
    try:
        said = subprocess.run(probe, capture_output=True, text=True, check=False).stdout.split()
    except OSError:
        return False
    return tuple(map(int, said)) == sys.version_info[:2]


def installer_environment():
    """The environment for uv: pip's index and certificates, where the machine configures pip but not uv."""
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    environment.setdefault("UV_HTTP_TIMEOUT", "180")
    index = pip_setting("index-url")
    if index and not {"UV_INDEX_URL", "UV_DEFAULT_INDEX"} & set(environment):
        environment["UV_DEFAULT_INDEX"] = index
    certificates = environment.get("PIP_CERT") or environment.get("REQUESTS_CA_BUNDLE")
    if certificates:
        environment.setdefault("SSL_CERT_FILE", certificates)
    return environment


def pip_setting(name):
    """What pip is configured with, by file or variable; empty when it is not."""
    asked = [str(VENV / "bin" / "python"), "-m", "pip", "config", "list"]
    for line in subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines():
        key, _, value = line.partition("=")
        if key.split(".")[-1] == name:
            return value.strip().strip("'\"")
    return ""


def uv_install(environment, *what):
    """Install packages into `.venv`, or elsewhere when `what` says so."""
    target = [] if "--target" in what else ["--python", VENV / "bin" / "python"]
    run([VENV / "bin" / "uv", "pip", "install", "--quiet", *target, *what], env=environment)


def azurite_program():
    """The file that Node.js runs."""
    return AZURITE / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"


def install_azurite(environment):
    """Azurite exactly as the lockfile says, with the machine's Node.js or, where that is absent or old, PyPI's."""
    sys.path.insert(0, str(ROOT))
    from localcloud import node

    lock = (NPM_FILES / "package-lock.json").read_text(encoding="utf-8")
    installed = AZURITE / "installed.json"
    runtime = node.find(ENVS) or node_from_pypi(node, environment)
    if azurite_program().exists() and installed.exists() and installed.read_text(encoding="utf-8") == lock:
        return
    AZURITE.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NPM_FILES / name, AZURITE / name)
    path = f"{runtime.parent}{os.pathsep}{environment.get('PATH', '')}"
    npm = [*node.npm(runtime), "ci", "--no-audit", "--no-fund", "--loglevel=error"]
    run(npm, env=environment | {"PATH": path}, cwd=AZURITE)
    installed.write_text(lock, encoding="utf-8")


def node_from_pypi(node, environment):
    """Node.js from the Python package index, for machines without one."""
    try:
        uv_install(environment, "--target", str(ENVS / "node"), node.FROM_PYPI)
    except SetupFailed as problem:
        fix = f"install Node.js {node.OLDEST} or newer, or make {node.FROM_PYPI} available to pip"
        raise SetupFailed(f"no Node.js for Azurite: {fix} ({problem})") from None
    found = node.find(ENVS)
    if found is None:
        raise SetupFailed(f"Node.js of {node.FROM_PYPI} does not run here; install Node.js {node.OLDEST} or newer")
    return found


def run(argv, *, env=None, cwd=ROOT):
    """Run an installer; what it said is shown only when it fails."""
    command = [str(part) for part in argv]
    try:
        done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SetupFailed(f"cannot run {command[0]}: {error}") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-1500:]
        raise SetupFailed(f"`{' '.join(command[:4])} ...` failed with status {done.returncode}: {said}")


@contextlib.contextmanager
def step(name):
    """One line for one step, with its seconds."""
    began = time.monotonic()
    sys.stdout.write(f"setup: {name} ... ")
    sys.stdout.flush()
    try:
        yield
    except SetupFailed:
        sys.stdout.write("failed\n")
        sys.stdout.flush()
        raise
    sys.stdout.write(f"{time.monotonic() - began:.1f} s\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
