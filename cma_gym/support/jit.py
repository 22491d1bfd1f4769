"""The one place that spells the compiler's decorator.

**One unit per entry point.** Numba compiles every function into a library of its own that contains, and optimises
again, everything it calls. In a core of some two hundred small functions, called twenty levels deep, the same code
would be optimised dozens of times. Here a function that is called from Python becomes an *entry*: it and all it calls
are lowered into one library, which is linked and optimised once (`_Dispatcher`). Measured: 138 s of processor time to
boot and run a first machine with the plain decorator, 26 s with this one.

**One lowering for all units.** What is typed and lowered for one unit is kept for the others of the process
(`_Member`): most of booting a machine is also part of running it.

**What only the core sees is the compiler's to shape.** Members of a unit are internal to it, so that LLVM may drop what
it inlined everywhere, inline what is called once, and choose how arguments are passed. And no index of the core is
negative: Numba's test for those, which Python's meaning of `a[-1]` asks for, would stand at every step along a list.

**One cache folder per version of the core.** Numba's on-disk cache looks at the stamp of the file that holds a
function, not at the files of the functions it calls. An edit of a helper would leave its callers stale, so the cache
folder is named by a digest of all sources of the compiled core.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba import types
from numba.core import compiler, dispatcher
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys
from numba.core.sigutils import normalize_signature

from cma_gym.support.jit_numba import UnitPipeline, numba_for_a_unit

_PACKAGE = Path(__file__).resolve().parent.parent
_CORE = ("support", "mm", "machine", "envs")
_OPTIONS = {"nopython": True, "error_model": "numpy"}


def core_digest() -> str:
    """Digest (16 hex digits) of the sources that hold compiled code, and of the compiler settings that change it.

    Rules and workloads are left out: a rule is one function, which the stamp of its own file covers.
    """
    digest = hashlib.sha256()
    for folder in _CORE:
        for source in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    digest.update(f"{numba.__version__} boundscheck={numba.config.BOUNDSCHECK}".encode())
    return digest.hexdigest()[:16]


def _cache_folder() -> Path:
    root = os.environ.get("CMA_GYM_CACHE_DIR") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "cma-gym"
    )
    return Path(root) / core_digest()


numba.config.reload_config()
# Through the environment, because Numba drops a changed setting whenever it reads its environment again.
os.environ["NUMBA_CACHE_DIR"] = str(_cache_folder())
numba.config.reload_config()


class _Library(JITCodeLibrary):
    """A library of which only the entry's wrapper is called from outside."""

    def _optimize_functions(self, ll_module: Any) -> None:
        super()._optimize_functions(ll_module)
        if _Unit.current is not None and _Unit.current.compiling:
            member = _Unit.current.compiling[-1]
            for function in ll_module.functions:
                if member.inline and not function.is_declaration:
                    function.add_function_attribute("alwaysinline")
            member.code.append(ll_module.as_bitcode())

    def add_linking_library(self, library: Any) -> None:
        """Have another library's functions in this one, such as Numba's own `max`."""
        super().add_linking_library(library)
        if _Unit.current is not None and _Unit.current.compiling:
            _Unit.current.compiling[-1].libraries.append(library)

    def link_member(self, member: _Member) -> None:
        """Have what an earlier unit made of a function in this library."""
        for library in member.libraries:
            super().add_linking_library(library)
        for code in member.code:
            self._final_module.link_in(llvm.parse_bitcode(code))

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            wrapper = function.name.startswith(("_ZN7cpython", "cfunc."))
            if not function.is_declaration and not wrapper and "cma_gym" in function.name:
                function.linkage = "internal"
        super()._optimize_final_module()

    def serialize_using_object_code(self) -> Any:
        """For the disk: machine code, and the names in it. Nobody will inline it, so its bitcode would only be read."""
        self._ensure_finalized()
        visible = (function for function in self.get_defined_functions() if function.linkage == llvm.Linkage.external)
        names = "\n".join(f'define void @"{function.name}"() {{ ret void }}' for function in visible)
        return self.name, "object", (self._get_compiled_object(), llvm.parse_assembly(names).as_bitcode())


class _EntryCache(FunctionCache):
    """Entries on disk. Reading one takes a fraction of what Numba would load before, which compiling needs."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled entry, if there is one."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


@dataclass(eq=False)
class _Member:
    """A function of the core for one signature, as other units can have it too: typed, lowered, not yet linked."""

    inline: bool
    """It becomes a part of its callers (`jit_inline`)."""
    callees: list[_Member] = field(default_factory=list)
    libraries: list[Any] = field(default_factory=list)
    code: list[bytes] = field(default_factory=list)
    result: Any = None


class _Unit:
    """What is compiled together: one library, and the functions that are in it."""

    current: _Unit | None = None

    def __init__(self, library: _Library) -> None:
        self.library = library
        self.members: set[_Member] = set()
        self.compiling: list[_Member] = []
        """Callers and callees, from the one that the entry calls to the one that is being compiled."""

    def compile(self, compiler: _Compiler, args: Any, return_type: Any, inline: bool) -> _Member:
        """A new member, compiled with all it calls."""
        member = _Member(inline)
        self.members.add(member)
        self.compiling.append(member)
        try:
            member.result = compiler.compile(args, return_type)
        finally:
            self.compiling.pop()
        return member

    def add(self, member: _Member) -> None:
        """Have a member in this unit, with all it calls, in the order in which they were compiled."""
        if member not in self.members:
            self.members.add(member)
            for callee in member.callees:
                self.add(callee)
            self.library.link_member(member)


class _Compiler(dispatcher._FunctionCompiler):
    """Lowers into the library of the current unit; only the entry itself is made executable."""

    def _compile_core(self, args: Any, return_type: Any) -> Any:
        unit = _Unit.current
        assert unit is not None
        flags = compiler.Flags()
        self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
        if unit.compiling:
            flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        return compiler.compile_extra(
            self.targetdescr.typing_context,
            self.targetdescr.target_context,
            self.py_func,
            args=args,
            return_type=return_type,
            flags=flags,
            locals=self.locals,
            library=unit.library,
            pipeline_class=self.pipeline_class,
        )


def _canonical(args: Any) -> tuple[Any, ...]:
    """Argument types of a call inside the core: every integer, flag, literal and enum member is an int64.

    Otherwise each mixture of them at the call sites would compile a function once more.
    """
    plain = (types.unliteral(arg) for arg in args)
    small = (types.Integer, types.Boolean, types.IntEnumMember)
    return tuple(types.int64 if isinstance(arg, small) else arg for arg in plain)


class _Dispatcher(CPUDispatcher):
    """A function of the core: an entry when Python calls it, a member of the caller's unit when compiled code does."""

    def __init__(self, py_func: Any, inline: bool) -> None:
        super().__init__(py_func, targetoptions=dict(_OPTIONS))
        self._inline = inline
        self._compiler.__class__ = _Compiler
        self._compiler.pipeline_class = UnitPipeline
        self._members: dict[Any, _Member] = {}

    def enable_caching(self) -> None:
        """Only for what is an entry; most functions never are."""
        if not isinstance(self._cache, _EntryCache):
            self._cache = _EntryCache(self.py_func)

    @property
    def nopython_signatures(self) -> list[Any]:
        """Signatures that compiled callers may use, those of the unit being compiled included."""
        members = [member.result for member in self._members.values()]
        return [result.signature for result in (*members, *self.overloads.values())]

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """The typing of a call from compiled code.

        Raises:
            NumbaError: the caller is no function of the core; an entry is compiled to be called from Python alone.
        """
        if _Unit.current is None:
            raise NumbaError(f"{self.py_func.__qualname__} is called by a compiled function without the decorator jit")
        args = self._compiler.fold_argument_types(args, kws)[1]
        return super().get_call_template(_canonical(args), {})

    def get_overload(self, sig: Any) -> Any:
        """Key under which the target context finds the implementation for compiled callers."""
        args = tuple(normalize_signature(sig)[0])
        found = self._members.get(args)
        return found.result.entry_point if found is not None else self.overloads[args].entry_point

    def compile(self, sig: Any) -> Any:
        """Compile for a signature; as a member if a unit is being compiled, else as an entry with a unit of its own."""
        with global_compiler_lock:
            if _Unit.current is not None:
                return self._compile_member(_Unit.current, sig)
            self.enable_caching()
            library = _Library(self.targetctx.codegen(), self.py_func.__qualname__)
            library.enable_object_caching()
            _Unit.current = _Unit(library)
            try:
                with numba_for_a_unit():
                    return super().compile(sig)
            finally:
                _Unit.current = None

    def _compile_member(self, unit: _Unit, sig: Any) -> Any:
        args, return_type = normalize_signature(sig)
        member = self._members.get(tuple(args))
        if member is None:
            member = unit.compile(self._compiler, args, return_type, self._inline)
            fndesc = member.result.fndesc
            fndesc.typemap = fndesc.calltypes = None  # of no use any more, and large
            member.result = member.result._replace(entry_point=(self.py_func, tuple(args)), library=None)
            self.targetctx.insert_user_function(member.result.entry_point, fndesc)
            self._members[tuple(args)] = member
        else:
            unit.add(member)
        if unit.compiling and member not in unit.compiling[-1].callees:
            unit.compiling[-1].callees.append(member)
        return member.result.entry_point


def jit_pointer(function: Any, signature: Any) -> Any:
    """Compile a function that the core calls through a pointer: by Numba's own means, but quickly read from the disk.

    With NUMBA_DISABLE_JIT=1 the function is returned as it is.
    """
    compiled = numba.njit(error_model="numpy")(function)
    if not numba.config.DISABLE_JIT:
        compiled._cache = _EntryCache(function)
        compiled.compile(signature)
        compiled.disable_compile()
    return compiled


def jit(function: Any) -> Any:
    """Compile a function of the core: no Python objects, division without a zero check, cached on disk.

    With NUMBA_DISABLE_JIT=1 the function is returned as it is.
    """
    return function if numba.config.DISABLE_JIT else _Dispatcher(function, inline=False)


def jit_inline(function: Any) -> Any:
    """`jit` for a step of the path that every allocation and every freed page takes: it becomes a part of its callers.

    LLVM leaves such functions alone because they are long, counting what is hardly ever done in them. Linux:
    __always_inline
    """
    return function if numba.config.DISABLE_JIT else _Dispatcher(function, inline=True)
