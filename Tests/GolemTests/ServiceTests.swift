import Foundation
import Golem
import Testing

@Suite("Services: when one is started again")
struct ServiceTests {
    private func plan(_ restart: RestartPolicy, failuresAllowed: Int = 2) -> ServicePlan {
        var plan = ServicePlan { _ in }
        plan.checkInterval = .seconds(10)
        plan.failuresAllowed = failuresAllowed
        plan.restart = restart
        return plan
    }

    private func at(_ second: Int64) -> Timestamp { Timestamp(nanoseconds: second * 1_000_000_000) }

    private func expect(
        _ state: inout ServiceStateMachine, _ event: ServiceStateMachine.Event, _ now: Timestamp,
        _ expected: ServiceStateMachine.Step, line: Int = #line
    ) {
        let step = state.handle(event, at: now)
        #expect(step == expected, "line \(line)")
    }

    @Test("single failed checks do nothing; several in a row start it again, then elsewhere, with longer pauses")
    func row() {
        var state = ServiceStateMachine(plan(RestartPolicy(inPlace: 1, pause: .seconds(1), longestPause: .seconds(3))))
        #expect(state.first == .start(fresh: true, after: .zero))
        expect(&state, .started, at(0), .check(after: .seconds(10)))
        expect(&state, .checkFailed("x"), at(10), .check(after: .seconds(10)))
        expect(&state, .checkPassed, at(20), .check(after: .seconds(10)))
        expect(&state, .checkFailed("x"), at(30), .check(after: .seconds(10)))
        expect(&state, .checkFailed("x"), at(40), .start(fresh: false, after: .seconds(1)))
        expect(&state, .startFailed("x"), at(42), .start(fresh: true, after: .seconds(2)))
        expect(&state, .machineLost("x"), at(45), .start(fresh: true, after: .seconds(3)))
        expect(&state, .started, at(50), .check(after: .seconds(10)))
        // Long after, it is the first failure of a row again.
        expect(&state, .checkFailed("x"), at(900), .check(after: .seconds(10)))
        expect(&state, .checkFailed("x"), at(910), .start(fresh: false, after: .seconds(1)))
        #expect(state.restarts == 4)
    }

    @Test("a limit of restarts is kept; `never` gives up with the reason")
    func limit() {
        var twice = ServiceStateMachine(plan(RestartPolicy(limit: 2, inPlace: 9, pause: .zero), failuresAllowed: 1))
        expect(&twice, .startFailed("a"), at(0), .start(fresh: false, after: .zero))
        expect(&twice, .checkFailed("b"), at(1000), .start(fresh: false, after: .zero))
        expect(&twice, .checkFailed("c"), at(2000), .giveUp("it failed after 2 restarts: c"))
        var never = ServiceStateMachine(plan(.never))
        expect(&never, .machineLost("gone"), at(0), .giveUp("gone"))
    }

    private func rented<Result: Sendable>(
        _ network: FakeNetwork, machines: Int = 1, _ body: @Sendable @escaping (MachinePool) async throws -> Result
    ) async throws -> Result {
        let folder = NSTemporaryDirectory() + "golem-service-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var result: Result?
        try await ScriptedServer.with(network.script) { client, _ in
            var plan = RentalPlan(
                machines: machines, image: .url("http://host/image.gvmi", sha3: String(repeating: "ab", count: 28)),
                budget: 20, priceLimits: PriceLimits(perHour: 100), ledgerFolder: folder, environment: [:])
            plan.patience = .seconds(60)
            result = try await Requestor(client: client, plan: plan).run(body)
        }
        #expect(await network.leftovers == [])
        return try #require(result)
    }

    @Test(
        "a service whose check fails is started again in its machine, and stopped at the end", .timeLimit(.minutes(2)))
    func kept() async throws {
        struct Broken: Error {}
        let events = Recorder<ServiceEvent>()
        let checks = Recorder<Int>()
        var service = ServicePlan(
            start: { machine in try await machine.runChecked([.run("/bin/true")], limit: .seconds(10)) },
            check: { _ in
                checks.add(1)
                if (3...4).contains(checks.all.count) { throw Broken() }
            })
        service.stop = { machine in try await machine.runChecked([.run("/bin/true")], limit: .seconds(10)) }
        service.checkInterval = .milliseconds(20)
        service.failuresAllowed = 2
        service.restart.pause = .zero
        let kept = service
        let name = try await rented(FakeNetwork(providers: 2)) { pool in
            try await pool.withService(kept, onEvent: { events.add($0) }) { instance in
                while events.all.filter({ $0.kind == .running }).count < 2 {
                    try await Task.sleep(for: .milliseconds(10))
                }
                return try await instance.machine().providerName
            }
        }
        let expected: [ServiceEvent.Kind] = [
            .starting, .running, .checkFailed, .checkFailed, .starting, .running, .stopped,
        ]
        #expect(events.all.map(\.kind) == expected)
        #expect(Set(events.all.map(\.providerName)) == [name])
    }

    @Test(
        "a service that cannot be started is given up with its reason, and all is given back", .timeLimit(.minutes(2)))
    func givenUp() async throws {
        struct Broken: Error, CustomStringConvertible { let description = "no such program" }
        var service = ServicePlan(start: { _ in throw Broken() })
        service.restart = RestartPolicy(limit: 1, pause: .zero)
        let hopeless = service
        let error = await #expect(throws: GolemError.self) {
            try await rented(FakeNetwork(providers: 1)) { pool in
                try await pool.withService(hopeless) { try await $0.machine().providerName }
            }
        }
        #expect(error?.code == .machineLost && error?.message.contains("no such program") == true)
    }

    @Test("many items keep their order, and one whose machine left is done by another", .timeLimit(.minutes(2)))
    func items() async throws {
        var faults = FakeNetwork.Faults()
        faults.leaving = 0
        let done = try await rented(FakeNetwork(providers: 3, faults: faults), machines: 2) { pool in
            try await pool.map(Array(0..<6)) { machine, item in
                try await machine.runChecked([.run("/bin/true")], limit: .seconds(20))
                return "\(item)"
            }
        }
        #expect(done == ["0", "1", "2", "3", "4", "5"])
    }

    @Test(
        "an error of the work itself ends all; one of a machine is tried so often as is allowed",
        .timeLimit(.minutes(2)))
    func itemFails() async throws {
        struct Broken: Error {}
        await #expect(throws: Broken.self) {
            try await rented(FakeNetwork(providers: 2)) { pool in
                try await pool.map([1, 2]) { _, item in
                    if item == 2 { throw Broken() }
                    return item
                }
            }
        }
        let tries = Recorder<String>()
        let error = await #expect(throws: GolemError.self) {
            try await rented(FakeNetwork(providers: 3), machines: 2) { pool in
                try await pool.map([1], attempts: 2) { machine, _ in
                    tries.add(machine.providerName)
                    throw GolemError(.commandFailed, "it says no")
                }
            } as [Int]
        }
        #expect(error?.message == "it says no" && Set(tries.all).count == 2 && tries.all.count == 2)
    }
}
