"""vLLM 0.32's scheduler with knobs that turn while it runs: ``--scheduler-cls``.

The launch flags are caps: they size buffers, graphs and activation memory, the knobs move below
them. ``PARETUNE_KNOBS`` (JSON) sets them at the start, ``/paretune/knobs`` later. What must not be
scheduled in a step is kept from vLLM's own ``schedule`` for that step; the rest is its business.
"""

import json
import math
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from paretune_gate import Gate
from paretune_settings import Caps, Settings
from paretune_step_log import steps_from_environment
from vllm.platforms import current_platform
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.interface import PauseState
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.request_queue import create_request_queue
from vllm.v1.core.sched.scheduler import Scheduler as SyncScheduler
from vllm.v1.engine.core import EngineCore, EngineCoreProc
from vllm.v1.request import Request, RequestStatus

NEVER = sys.maxsize

# The CPU platform turns async scheduling off, and the async scheduler would then wait for tokens
# that nobody samples.
_Base: Any = SyncScheduler if current_platform.is_cpu() else AsyncScheduler


class Scheduler(_Base):
    """Named by ``--scheduler-cls paretune_scheduler.Scheduler``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._caps = self._launched_caps()
        self._launched_scheduled_tokens = self.max_num_scheduled_tokens
        self._held: list[Request] = []
        self._skipped: list[tuple[Request, int]] = []
        self._refused: tuple[str, int] | None = None
        """Who found no KV blocks, and how many were free then."""
        self._let_decodes_run = False
        self._engine: Any = None
        self._settings = self._launched_settings()
        self._gate = Gate(self._settings)
        self._turn(json.loads(os.environ.get("PARETUNE_KNOBS") or "{}"))
        self._watch_refusals()
        self._steps = steps_from_environment(_data_parallel_suffix())

    # Knobs

    def _launched_caps(self) -> Caps:
        config, speculation = self.scheduler_config, self.vllm_config.speculative_config
        return Caps(
            max_num_seqs=self.max_num_running_reqs,
            max_num_batched_tokens=config.max_num_batched_tokens,
            max_model_len=self.max_model_len,
            enable_chunked_prefill=config.enable_chunked_prefill,
            draft_tokens=speculation.max_num_new_slots_for_drafting if speculation else 0,
        )

    def _launched_settings(self) -> Settings:
        return Settings(
            max_num_seqs=self.max_num_active_reqs,
            max_num_batched_tokens=self._caps.max_num_batched_tokens,
            long_prefill_token_threshold=self.scheduler_config.long_prefill_token_threshold,
        )

    def _turn(self, knobs: Mapping[str, Any]) -> None:
        settings = self._settings.turned(knobs, self._caps)
        self._settings = settings
        self._gate.turn(settings)
        # Of the two limits this one admits; max_num_running_reqs is what vLLM asserts.
        self.max_num_active_reqs = settings.max_num_seqs
        self.max_num_scheduled_tokens = min(
            settings.max_num_batched_tokens, self._launched_scheduled_tokens
        )

    def paretune_knobs(self, knobs: Mapping[str, Any]) -> dict[str, Any]:
        """Turn the knobs named, all or none; what they are now, or ``{"error": why}``."""
        try:
            self._turn(knobs)
        except ValueError as error:
            # An exception would reach the client too, but as a traceback in the engine's log.
            return {"error": str(error)}
        running, waiting = self.get_request_counts()
        return {"knobs": asdict(self._settings), "running": running, "waiting": waiting}

    # Steps

    def add_request(self, request: Request) -> None:
        if request.request_id not in self.requests:
            request.paretune_queued_s = time.monotonic()
        super().add_request(request)

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        start_s = time.monotonic()
        decoding = set()
        if self._steps:
            decoding = {r.request_id for r in self.running if not r.is_prefill_chunk}
        output = self._schedule(start_s, throttle_prefills)
        if self._steps:
            self._steps.scheduled(self, output, decoding, start_s)
        return output

    def _schedule(self, now_s: float, throttle_prefills: bool) -> SchedulerOutput:
        config, refused = self.scheduler_config, self._refused
        flags = config.max_num_batched_tokens, config.long_prefill_token_threshold
        self._hold_back(now_s)
        try:
            # Workers in this process read the same object for what it was launched with.
            config.max_num_batched_tokens = self._settings.max_num_batched_tokens
            config.long_prefill_token_threshold = self._settings.long_prefill_token_threshold
            output = super().schedule(throttle_prefills)
        finally:
            config.max_num_batched_tokens, config.long_prefill_token_threshold = flags
            skipped = bool(self._skipped)
            self._let_go()
        if self._refused is not None and self._refused is not refused:
            self._gate.close_batch()
        # No room for any prompt: the decodes run on and free some.
        self._let_decodes_run = skipped and not output.total_num_scheduled_tokens
        return output

    def update_from_output(self, scheduler_output: SchedulerOutput, *args: Any) -> Any:
        if not self._steps or not scheduler_output.num_scheduled_tokens:
            return super().update_from_output(scheduler_output, *args)
        self._steps.returned()
        outputs = super().update_from_output(scheduler_output, *args)
        self._steps.done(idle=not self.running)
        return outputs

    # What a step must not touch

    def _hold_back(self, now_s: float) -> None:
        policy = self._settings.batch_policy
        decoding = [r for r in self.running if policy != "continuous" and not r.is_prefill_chunk]
        if policy == "decode_first" and decoding:
            self._hold(lambda request: True)
            self._skip([r for r in self.running if r.is_prefill_chunk])
            return
        gate_open = self._opens_at_s() <= now_s
        if policy == "static" or not gate_open:
            self._admit_by_gate(gate_open)
        if policy == "prefill_first" and decoding and self._prompts_to_compute(decoding):
            self._skip(decoding)

    def _prompts_to_compute(self, decoding: list[Request]) -> bool:
        if self._let_decodes_run:
            return False
        return len(decoding) < len(self.running) or self._can_admit()

    def _admit_by_gate(self, gate_open: bool) -> None:
        gate = self._gate
        fresh = (r.request_id for r in self.waiting if not r.num_preemptions)
        if gate.static and gate_open and self._nothing_runs and not self._preempted_waiting:
            gate.form_batch(fresh)
        elif gate.joining:
            gate.joining.intersection_update(fresh)
        self._hold(
            lambda r: (
                not gate.admits(
                    r.request_id, preempted=bool(r.num_preemptions), gate_open=gate_open
                )
            )
        )

    def _hold(self, is_held: Any) -> None:
        """Take requests out of the queue for one step."""
        admitted = create_request_queue(self.policy)
        for request in self.waiting:
            if is_held(request):
                self._held.append(request)
            else:
                admitted.add_request(request)
        self.waiting = admitted

    def _skip(self, requests: list[Request]) -> None:
        """Let requests keep their place among the running ones, and their KV, but not run."""
        self._skipped = [(request, request.next_decode_eligible_step) for request in requests]
        for request in requests:
            request.next_decode_eligible_step = NEVER

    def _let_go(self) -> None:
        # Those admitted or preempted stand in front of those held: so it was before.
        for request in self._held:
            self.waiting.add_request(request)
        self._held = []
        for request, eligible_step in self._skipped:
            request.next_decode_eligible_step = eligible_step
        self._skipped = []

    def get_request_counts(self) -> tuple[int, int]:
        running, waiting = super().get_request_counts()
        return running, waiting + len(self._held)

    # The gate

    @property
    def _nothing_runs(self) -> bool:
        return not self.running and not self.kv_holding_waiting

    def _opens_at_s(self) -> float:
        running, waiting = self.get_request_counts()
        return self._gate.opens_at_s(
            running=running + len(self.kv_holding_waiting),
            preempted=self._preempted_waiting,
            waiting=waiting - len(self.kv_holding_waiting),
            oldest_s=self._oldest_s,
        )

    @property
    def _preempted_waiting(self) -> int:
        return sum(request.num_preemptions > 0 for request in self.waiting)

    def _oldest_s(self) -> float:
        fresh = (r.paretune_queued_s for r in self.waiting if not r.num_preemptions)
        return min(fresh, default=math.inf)

    def _can_admit(self) -> bool:
        """Whether the head of the queue has a slot, and may find blocks it did not find before."""
        if not self.waiting or len(self.running) >= self.max_num_active_reqs:
            return False
        if self._refused is None:
            return True
        refused, free = self._refused
        head = self.waiting.peek_request().request_id
        return head != refused or self.kv_cache_manager.block_pool.get_num_free_blocks() > free

    def _watch_refusals(self) -> None:
        """See which waiting request finds no KV blocks; vLLM tells nobody."""
        manager = self.kv_cache_manager
        allocate_slots = manager.allocate_slots

        def watched(request: Request, *args: Any, **kwargs: Any) -> Any:
            blocks = allocate_slots(request, *args, **kwargs)
            if blocks is None and request.status != RequestStatus.RUNNING:
                self._refused = request.request_id, manager.block_pool.get_num_free_blocks()
            return blocks

        manager.allocate_slots = watched

    # Sleeping until the gate opens

    def attach(self, engine: Any) -> None:
        """Let the engine's loop sleep no longer than until the gate opens."""
        if self._engine is engine:
            return
        self._engine = engine
        get = engine.input_queue.get

        def get_until_gate_opens(block: bool = True, timeout: float | None = None) -> Any:
            deadline_s = self._asleep_until_s() if block and timeout is None else None
            if deadline_s is None:
                return get(block, timeout)
            return get(True, max(0.0, deadline_s - time.monotonic()))

        engine.input_queue.get = get_until_gate_opens

    def has_requests(self) -> bool:
        if self.running or not self.waiting:
            return super().has_requests()
        deadline_s = self._asleep_until_s()
        if deadline_s is not None and deadline_s > time.monotonic():
            return False
        return super().has_requests()

    def _asleep_until_s(self) -> float | None:
        """When the gate opens for requests that wait while nothing else is to do."""
        asleep = (
            self._engine is not None
            and self._engine.is_running()
            and self._pause_state == PauseState.UNPAUSED
            and bool(self.waiting)
            and self._nothing_runs
            and not self.finished_req_ids
            and self.connector is None
            and self.ec_connector is None
        )
        if not asleep or any(request.num_preemptions for request in self.waiting):
            return None
        return self._opens_at_s()


def _data_parallel_suffix() -> str:
    """Such as ``.1``. An engine of a dense model no longer knows that it is one of several."""
    rank = re.search(r"_DP(\d+)$", multiprocessing.current_process().name)
    return f".{rank[1]}" if rank else ""


def _paretune_knobs(self: Any, knobs: dict[str, Any]) -> dict[str, Any]:
    return self.scheduler.paretune_knobs(knobs)


_process_input_queue = EngineCoreProc._process_input_queue


def _process_input_queue_asleep(self: Any) -> None:
    if isinstance(self.scheduler, Scheduler):
        self.scheduler.attach(self)
    _process_input_queue(self)


# The engine calls what a client names as a method of its own.
EngineCore.paretune_knobs = _paretune_knobs
EngineCoreProc._process_input_queue = _process_input_queue_asleep
