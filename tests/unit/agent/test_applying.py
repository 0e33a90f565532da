"""The node's core: what is refused harms only itself, and what served goes on serving."""

import asyncio

import pytest
from zeroserve_dataplane.enginelink.linking import EngineRefusedError
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.drafting import SnapshotDraft, digest_payload, make_resource
from zeroserve_ir.program.abi import ABI_OLDEST, ABI_VERSION
from zeroserve_ir.program.lowering import lower_site

RETURN = bytes.fromhex("b7000000070000009500000000000000")
"""mov r0, EMPTY; exit"""
LOOKS_OUTSIDE = bytes.fromhex("b7010000000000000f1100000000000085000000630000009500000000000000")
"""Calls helper 99, which nobody has."""


def program_of(code):
    return pb.Program(name=digest_payload(code), code=code, abi=ABI_VERSION)


def host_of(name, program, **fields):
    return pb.VirtualHost(
        name=f"http://{name}", hosts=[name], listeners=["http-80"], program=program.name, **fields
    )


def draft_of(*messages):
    return SnapshotDraft.of(make_resource(message) for message in messages)


LISTENER = pb.Listener(name="http-80", port=80)
GOOD, BAD = program_of(RETURN), program_of(LOOKS_OUTSIDE)
SHOP = (int(pb.VIRTUAL_HOST), "http://shop")


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 240))


def test_a_draft_is_served_as_image_and_without_programs(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            outcome = await node.apply(draft_of(LISTENER, GOOD, host_of("shop", GOOD)))
        assert outcome.refusals == ()
        assert {kind for kind, _ in supervisor.held} == {pb.LISTENER, pb.IMAGE, pb.VIRTUAL_HOST}
        assert node.images.tiers["fast"] == 1

    run(scenario())


def test_only_what_differs_is_sent(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            await node.apply(draft_of(LISTENER, GOOD, host_of("shop", GOOD)))
            supervisor.puts.clear()
            await node.apply(draft_of(LISTENER, GOOD, host_of("shop", GOOD), host_of("blog", GOOD)))
            assert supervisor.puts == [(pb.VIRTUAL_HOST, "http://blog")]
            await node.apply(draft_of(LISTENER, GOOD, host_of("blog", GOOD)))
            assert SHOP not in supervisor.held

    run(scenario())


def test_an_agent_that_restarts_sends_nothing(supervisor, open_node):
    async def scenario():
        draft = draft_of(LISTENER, GOOD, host_of("shop", GOOD))
        async with supervisor:
            async with open_node() as node:
                await node.apply(draft)
            supervisor.puts.clear()
            async with open_node() as node:
                await node.apply(draft)
            assert supervisor.puts == []

    run(scenario())


def test_a_host_whose_program_is_refused_keeps_its_last_good_version(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            former = draft_of(LISTENER, GOOD, host_of("shop", GOOD), host_of("blog", GOOD, marker="1"))
            await node.apply(former)
            wanted = draft_of(LISTENER, BAD, GOOD, host_of("shop", BAD), host_of("blog", GOOD, marker="2"))
            outcome = await node.apply(wanted)
        assert {refusal.key for refusal in outcome.refusals} == {(int(pb.PROGRAM), BAD.name), SHOP}
        assert {diagnostic.code.name for diagnostic in outcome.diagnostics} == {"ZS0601"}
        assert supervisor.held[SHOP] == former.resources[SHOP].version
        blog = (int(pb.VIRTUAL_HOST), "http://blog")
        assert supervisor.held[blog] == wanted.resources[blog].version

    run(scenario())


def test_the_last_good_version_keeps_the_program_that_the_operator_removed(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            await node.apply(draft_of(LISTENER, GOOD, host_of("shop", GOOD)))
            await node.apply(draft_of(LISTENER, BAD, host_of("shop", BAD)))
            assert (int(pb.IMAGE), GOOD.name) in supervisor.held
            assert (int(pb.PROGRAM), GOOD.name) in node.good.resources
            await node.apply(draft_of(LISTENER, GOOD, host_of("shop", GOOD, marker="3")))
            assert {name for kind, name in supervisor.held if kind == pb.IMAGE} == {GOOD.name}

    run(scenario())


def test_a_host_that_never_served_is_denied_when_its_program_is_refused(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            outcome = await node.apply(draft_of(LISTENER, BAD, host_of("shop", BAD)))
        host = pb.VirtualHost.FromString(outcome.served.resources[SHOP].payload)
        assert host.deny
        assert host.deny_reason.startswith("ZS0601")
        assert (list(host.hosts), host.program) == (["shop"], "")
        assert SHOP in supervisor.held

    run(scenario())


@pytest.mark.parametrize(
    "host",
    [
        host_of("shop", GOOD, tables="missing"),
        pb.VirtualHost(name="http://shop", hosts=["shop"], program="missing"),
    ],
    ids=["tables", "program"],
)
def test_a_host_that_refers_to_what_is_missing_is_denied(supervisor, open_node, host):
    async def scenario():
        async with supervisor, open_node() as node:
            outcome = await node.apply(draft_of(LISTENER, GOOD, host))
        assert [refusal.key for refusal in outcome.refusals] == [SHOP]
        assert "missing" in outcome.diagnostics[0].message
        assert pb.VirtualHost.FromString(outcome.served.resources[SHOP].payload).deny

    run(scenario())


def test_a_host_with_fewer_constants_than_its_program_reads_is_denied(supervisor, open_node):
    async def scenario():
        reader = pb.Program(name=GOOD.name, code=RETURN, abi=ABI_VERSION, constants_bytes=16)
        async with supervisor, open_node() as node:
            outcome = await node.apply(
                draft_of(LISTENER, reader, host_of("shop", reader, constants=b"x" * 15))
            )
            assert "15 bytes of constants" in outcome.diagnostics[0].message
            outcome = await node.apply(
                draft_of(LISTENER, reader, host_of("shop", reader, constants=b"x" * 16))
            )
            assert outcome.refusals == ()

    run(scenario())


def test_a_program_whose_name_is_not_its_digest_is_refused(supervisor, open_node):
    async def scenario():
        forged = pb.Program(name=BAD.name, code=RETURN, abi=ABI_VERSION)
        async with supervisor, open_node() as node:
            outcome = await node.apply(draft_of(LISTENER, forged, host_of("shop", forged)))
        assert {diagnostic.code.name for diagnostic in outcome.diagnostics} == {"ZS0702"}

    run(scenario())


def test_programs_of_older_abis_run_and_those_of_newer_ones_are_refused(supervisor, open_node):
    async def scenario():
        for abi, refused in [(ABI_OLDEST - 1, True), (ABI_OLDEST, False), (ABI_VERSION + 1, True)]:
            program = pb.Program(name=GOOD.name, code=GOOD.code, abi=abi)
            async with supervisor, open_node() as node:
                outcome = await node.apply(draft_of(LISTENER, program, host_of("shop", program)))
            assert any(f"has ABI {abi}" in one.message for one in outcome.diagnostics) == refused

    run(scenario())


def test_an_image_says_whether_its_program_reads_the_folded_path(supervisor, open_node):
    async def scenario():
        program = pb.Program(name=GOOD.name, code=GOOD.code, abi=ABI_VERSION, reads_folded_path=True)
        async with supervisor, open_node() as node:
            await node.apply(draft_of(LISTENER, program, host_of("shop", program)))
            image = node.images.find(make_resource(program))
        assert pb.Image.FromString(image.resource.payload).reads_folded_path

    run(scenario())


def test_what_the_engine_refuses_keeps_its_former_version_and_its_neighbours_change(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            former = draft_of(LISTENER, pb.Certificate(name="a", key=b"1"))
            await node.apply(former)
            supervisor.refuse[int(pb.CERTIFICATE), "a"] = "key does not fit"
            wanted = draft_of(pb.Listener(name="http-80", port=81), pb.Certificate(name="a", key=b"2"))
            outcome = await node.apply(wanted)
            assert [refusal.key for refusal in outcome.refusals] == [(int(pb.CERTIFICATE), "a")]
            assert "key does not fit" in outcome.diagnostics[0].message
            certificate, listener = (int(pb.CERTIFICATE), "a"), (int(pb.LISTENER), "http-80")
            assert supervisor.held[certificate] == former.resources[certificate].version
            assert supervisor.held[listener] == wanted.resources[listener].version

    run(scenario())


def test_a_listener_whose_port_was_taken_is_offered_again(supervisor, open_node):
    async def scenario():
        key = (int(pb.LISTENER), "http-80")
        async with supervisor, open_node() as node:
            supervisor.refuse[key] = "port 80 is taken"
            outcome = await node.apply(draft_of(LISTENER, GOOD, host_of("shop", GOOD)))
            assert [refusal.key for refusal in outcome.refusals] == [key]
            assert SHOP in supervisor.held
            supervisor.refuse.clear()
            await node.retry_refused()
            assert key in supervisor.held

    run(scenario())


def test_a_change_that_the_engine_has_no_room_for_changes_nothing_and_is_offered_again(supervisor, open_node):
    async def scenario():
        key = (int(pb.CERTIFICATE), "a")
        async with supervisor, open_node() as node:
            former = draft_of(LISTENER, GOOD, host_of("shop", GOOD), pb.Certificate(name="a", key=b"1"))
            await node.apply(former)
            held, commits = dict(supervisor.held), list(supervisor.commits)
            supervisor.shortage = "no file descriptor is left: raise the limit"
            wanted = draft_of(
                LISTENER, GOOD, pb.Certificate(name="a", key=b"2"), pb.Certificate(name="b", key=b"1")
            )
            outcome = await node.apply(wanted)
            assert outcome.served.version == former.version
            told = {(one.message, one.help) for one in outcome.diagnostics}
            assert told == {
                ("nothing of the change is served: no file descriptor is left", "raise the limit")
            }
            assert (supervisor.held, supervisor.commits) == (held, commits)
            supervisor.shortage = ""
            await node.retry_refused()
            assert supervisor.held[key] == wanted.resources[key].version
            assert SHOP not in supervisor.held
            assert node.good.version == wanted.version

    run(scenario())


def test_a_change_that_is_refused_whole_removes_nothing_for_good(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            await node.apply(draft_of(LISTENER, pb.Certificate(name="old", key=b"1")))
            supervisor.refuse_once[int(pb.CERTIFICATE), "new"] = "the engine ended while it took the change"
            await node.apply(draft_of(LISTENER, pb.Certificate(name="new", key=b"2")))
            assert set(supervisor.held) == {(int(pb.LISTENER), "http-80")}
            assert node._held == supervisor.held

    run(scenario())


def test_an_image_that_the_engine_refuses_is_interpreted_and_counted_never_refused(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            supervisor.refuse_once[int(pb.IMAGE), GOOD.name] = "cannot be mapped"
            supervisor.refuse_once[SHOP] = "no image of its program"
            outcome = await node.apply(draft_of(LISTENER, GOOD, host_of("shop", GOOD)))
            assert outcome.refusals == ()
            assert node.images.counts.defects == 1
            assert node.images.tiers["interpreted"] == 1

    run(scenario())


def test_optimised_images_replace_fast_ones_without_a_change_of_the_hosts(supervisor, open_node):
    async def scenario():
        text = "http://shop {\n respond /a 200\n respond 404\n}"
        configuration, _ = read_configuration(text, environment={})
        site = configuration.sites[0]
        lowered = lower_site(site)
        program = lowered.make_program()
        host = host_of("shop", program, constants=lowered.constants, tables=lowered.tables.name)
        async with supervisor, open_node() as node:
            await node.apply(draft_of(LISTENER, program, host, lowered.tables))
            before = supervisor.held[int(pb.IMAGE), program.name]
            supervisor.puts.clear()
            assert await node.optimise() == 1
            assert supervisor.puts == [(pb.IMAGE, program.name)]
            assert supervisor.held[int(pb.IMAGE), program.name] != before
            assert node.images.tiers["optimised"] == 1
            assert await node.optimise() == 0

    run(scenario())


def test_a_supervisor_that_comes_back_empty_is_fed_again(supervisor, open_node, socket_path):
    async def scenario():
        draft = draft_of(LISTENER, GOOD, host_of("shop", GOOD))
        async with open_node() as node:
            async with supervisor:
                await node.apply(draft)
                held = dict(supervisor.held)
            supervisor.held = {}
            async with supervisor:
                while supervisor.held != held:
                    await asyncio.sleep(0.01)

    run(scenario())


def test_an_apply_outlives_a_link_that_is_lost_in_the_middle_of_it(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            supervisor.deaf = True
            applying = asyncio.create_task(node.apply(draft_of(LISTENER, GOOD, host_of("shop", GOOD))))
            while not supervisor.puts:
                await asyncio.sleep(0.005)
            supervisor.deaf = False
            supervisor.disconnect()
            await applying
            assert SHOP in supervisor.held

    run(scenario())


def test_another_abi_ends_the_node_with_an_error(supervisor, open_node, socket_path):
    async def scenario():
        supervisor.abi = ABI_VERSION + 1
        async with supervisor, open_node() as node:
            with pytest.raises(EngineRefusedError, match="ABI"):
                await node.run()

    run(scenario())


def hosts_of(count):
    return [host_of(f"host{number}", GOOD) for number in range(count)]


def test_one_change_among_many_hosts_is_sent_alone_and_judged(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            await node.apply(draft_of(LISTENER, GOOD, *hosts_of(40)))
            supervisor.puts.clear()
            added = draft_of(LISTENER, GOOD, *hosts_of(41))
            assert (await node.apply(added)).served is added
            assert supervisor.puts == [(pb.VIRTUAL_HOST, "http://host40")]
            missing = host_of("host41", GOOD, tables="missing")
            outcome = await node.apply(draft_of(LISTENER, GOOD, *hosts_of(41), missing))
            assert [refusal.key[1] for refusal in outcome.refusals] == ["http://host41"]
            assert (await node.apply(draft_of(LISTENER, GOOD, *hosts_of(39)))).refusals == ()
            assert len(supervisor.held) == 39 + 2

    run(scenario())


def test_one_change_among_many_hosts_that_the_engine_refuses_keeps_the_former_version(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            former = draft_of(LISTENER, GOOD, *hosts_of(40))
            await node.apply(former)
            key = (int(pb.VIRTUAL_HOST), "http://host7")
            supervisor.refuse[key] = "no"
            hosts = [*hosts_of(7), host_of("host7", GOOD, marker="2"), *hosts_of(40)[8:]]
            outcome = await node.apply(draft_of(LISTENER, GOOD, *hosts))
            assert [refusal.key for refusal in outcome.refusals] == [key]
            assert supervisor.held[key] == former.resources[key].version

    run(scenario())


def test_a_change_after_the_link_was_lost_brings_everything_again(supervisor, open_node):
    async def scenario():
        async with supervisor, open_node() as node:
            await node.apply(draft_of(LISTENER, GOOD, *hosts_of(40)))
            supervisor.held.clear()
            supervisor.disconnect()
            await node.apply(draft_of(LISTENER, GOOD, *hosts_of(41)))
            async with asyncio.timeout(120):
                while len(supervisor.held) < 41 + 2:
                    await asyncio.sleep(0.01)

    run(scenario())
