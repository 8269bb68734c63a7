import Foundation
import Golem
import Synchronization
import Testing

/// Events in the order in which they came.
private final class Events: Sendable {
    private let events = Mutex<[RentalEvent]>([])
    var all: [RentalEvent] { events.withLock { $0 } }
    var add: @Sendable (RentalEvent) -> Void { { event in self.events.withLock { $0.append(event) } } }
}

private final class Shared<Value: Sendable>: Sendable {
    private let state: Mutex<Value>
    init(_ value: Value) { state = Mutex(value) }
    var value: Value {
        get { state.withLock { $0 } }
        set { state.withLock { $0 = newValue } }
    }
}

/// Whole rentals against a network in this process.
@Suite("A whole rental")
struct RequestorTests {
    private static let package = try? TaskPackage(url: "http://image", sha3: String(repeating: "ab", count: 28))

    private func run<Result: Sendable>(
        providers: Int, faults: FakeNetwork.Faults = .init(), machines: Int = 1, budget: Amount = 1,
        folder: String? = nil,
        prepare: (FakeNetwork) async throws -> Void = { _ in },
        change: (inout RentalPlan) -> Void = { _ in },
        _ body: @Sendable @escaping (MachinePool) async throws -> Result
    ) async throws -> (Swift.Result<Result, any Error>, [Expense], FakeNetwork) {
        let network = FakeNetwork(providers: providers, faults: faults)
        try await prepare(network)
        return try await run(
            network, machines: machines, budget: budget, folder: folder, change: change, body)
    }

    private func run<Result: Sendable>(
        _ network: FakeNetwork, machines: Int = 1, budget: Amount = 1, folder: String? = nil,
        mayLeaveSomething: Bool = false, change: (inout RentalPlan) -> Void = { _ in },
        _ body: @Sendable @escaping (MachinePool) async throws -> Result
    ) async throws -> (Swift.Result<Result, any Error>, [Expense], FakeNetwork) {
        let own = NSTemporaryDirectory() + "golem-requestor-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: own) }
        var plan = RentalPlan(
            machines: machines, image: try #require(Self.package), budget: budget,
            priceLimits: PriceLimits(perHour: 100),
            ledgerFolder: folder ?? own, runName: "run")
        // Long enough for a machine that is busy with other tests: nothing here waits for these limits to pass.
        plan.patience = .seconds(60)
        plan.invoiceLimit = .seconds(60)
        plan.tolerance = BillTolerance(relative: 0.02, seconds: 0.05)
        change(&plan)
        var outcome: Swift.Result<Result, any Error> = .failure(CancellationError())
        var expenses: [Expense] = []
        let finished = plan
        try await ScriptedServer.with(network.script) { client, _ in
            let requestor = Requestor(client: client, plan: finished)
            do {
                outcome = .success(try await requestor.run(body))
            } catch {
                outcome = .failure(error)
            }
            expenses = await requestor.expenses()
        }
        let leftovers = await network.leftovers
        #expect(mayLeaveSomething || leftovers == [], "something was left behind")
        return (outcome, expenses, network)
    }

    private static let work: @Sendable (MachinePool) async throws -> String = { pool in
        let machine = try await pool.next()
        let results = try await machine.runChecked([.run("/bin/true"), .run("/bin/true")], limit: .seconds(10))
        await pool.giveBack(machine)
        return results.compactMap(\.stdout).joined(separator: " ")
    }

    @Test("rent, run, pay; repeated events, 408 storms, padded decimals and a forgotten demand do no harm")
    func odd() async throws {
        var faults = FakeNetwork.Faults()
        faults.repeatsEvents = true
        faults.slowApprovals = 3
        faults.forgetsDemandAfter = 2
        let (outcome, expenses, network) = try await run(providers: 2, faults: faults, machines: 2, Self.work)
        #expect(try outcome.get() == "fine fine")
        #expect(
            !expenses.isEmpty
                && expenses.allSatisfy { $0.state == .accepted && $0.accepted == $0.billed && $0.billed > .zero })
        let acceptances = await network.acceptances
        #expect(Set(acceptances).count == acceptances.count, "accepted twice: \(acceptances)")
        let rejected = await network.rejected
        #expect(rejected.isEmpty, "\(rejected)")
    }

    @Test("several pieces of work on one machine")
    func reuse() async throws {
        let (outcome, expenses, _) = try await run(providers: 3) { pool in
            try await Self.work(pool) + (try await Self.work(pool))
        }
        #expect(try outcome.get() == "fine finefine fine" && expenses.count == 1)
    }

    @Test("a provider that bills five times the price is not paid, and its agreement is ended")
    func overbilling() async throws {
        var faults = FakeNetwork.Faults()
        faults.overbill = 5
        let (_, expenses, network) = try await run(providers: 1, faults: faults) { pool in
            let machine = try await pool.next()
            // A note comes with every batch; by the clock's tolerance the first may pass, a later one does not.
            while machine.lossReason == nil {
                _ = try? await machine.run([.run("/bin/true")], limit: .seconds(5))
                try await Task.sleep(for: .milliseconds(20))
            }
            await pool.giveBack(machine)
        }
        let expense = try #require(expenses.first)
        #expect(expense.state == .rejected && expense.reason?.contains("asks for") == true)
        let rejected = await network.rejected
        // Another is rented when the first was ended before it could be lent.
        #expect(rejected.count >= 1 && rejected.count == expenses.count, "\(rejected), \(expenses)")
        // Not beyond price times clock, with the tolerance.
        #expect(expense.accepted.glm <= (expense.seconds + 0.05) * 0.01 * 1.02 + 1e-9)
    }

    @Test("a provider that leaves is replaced by another, and is paid for what it did")
    func leaving() async throws {
        var faults = FakeNetwork.Faults()
        faults.leaving = 0
        let (outcome, expenses, _) = try await run(providers: 2, faults: faults) { pool in
            for attempt in 1...5 {
                let machine = try await pool.next()
                do {
                    _ = try await machine.runChecked([.run("/bin/true")], limit: .seconds(10))
                    await pool.giveBack(machine)
                    return (attempt, machine.providerName)
                } catch let error as GolemError where error.code == .machineLost {
                    await pool.giveBack(machine)
                }
            }
            throw GolemError(.noMachine, "five were lost")
        }
        let (attempt, name) = try outcome.get()
        #expect(attempt == 2 && name == "provider-1")
        #expect(expenses.count == 2 && expenses.allSatisfy { $0.state == .accepted })
    }

    @Test("providers that are busy are passed over; when all are, it is said in time")
    func busy() async throws {
        var faults = FakeNetwork.Faults()
        faults.busy = [0]
        let (outcome, expenses, _) = try await run(providers: 2, faults: faults, Self.work)
        #expect(try outcome.get() == "fine fine" && expenses.map(\.providerName) == ["provider-1"])
        faults.busy = [0, 1]
        let (none, _, _) = try await run(providers: 2, faults: faults, change: { $0.patience = .seconds(6) }, Self.work)
        let error = #expect(throws: GolemError.self) { try none.get() }
        #expect(error?.code == .noMachine && error?.message.contains("busy") == true)
    }

    @Test("when the work fails, or is cancelled, everything is given back all the same")
    func failing() async throws {
        struct Broken: Error {}
        let (failed, expenses, _) = try await run(providers: 2, machines: 2) { pool in
            _ = try await pool.next()
            throw Broken()
        }
        #expect(throws: Broken.self) { try failed.get() }
        #expect(expenses.allSatisfy { $0.state == .accepted })
        let (cancelled, _, _) = try await run(providers: 1) { pool in
            _ = try await pool.next()
            throw CancellationError()
        }
        #expect(throws: CancellationError.self) { try cancelled.get() }
    }

    /// Cancels a run as soon as a call has come in, whose answer is still to come.
    private func cancelled(at call: String, _ faults: FakeNetwork.Faults) async throws -> ([Expense], FakeNetwork) {
        let network = FakeNetwork(providers: 1, faults: faults)
        let (outcome, expenses, _) = try await run(network) { pool in
            try await network.received(call)
            throw CancellationError()
        }
        #expect(throws: CancellationError.self) { try outcome.get() }
        return (expenses, network)
    }

    @Test("an activity that is just being created when all ends is destroyed and paid")
    func cancelledInCreation() async throws {
        var faults = FakeNetwork.Faults()
        faults.slowCreation = .milliseconds(300)
        let (expenses, network) = try await cancelled(at: "POST /activity-api/v1/activity", faults)
        #expect(expenses.map(\.state) == [.accepted] && expenses.allSatisfy { $0.accepted > .zero })
        #expect(await network.calls.contains { $0.hasPrefix("DELETE /activity-api/v1/activity/") })
        #expect(await network.rejected.isEmpty)
    }

    @Test("an agreement that is just being sent when all ends is ended")
    func cancelledInConfirmation() async throws {
        var faults = FakeNetwork.Faults()
        faults.slowConfirmation = .milliseconds(300)
        let (expenses, network) = try await cancelled(at: "/confirm", faults)
        // Whether the provider still writes an invoice of nothing depends on who is faster.
        #expect(expenses.allSatisfy { $0.accepted == .zero && $0.seconds == 0 }, "nothing ran: \(expenses)")
        #expect(await network.openAgreements.isEmpty)
        #expect(await network.rejected.isEmpty)
    }

    @Test("an activity whose creation was answered to nobody is paid by price and time")
    func lostCreation() async throws {
        var faults = FakeNetwork.Faults()
        faults.losesCreation = true
        faults.slowCreation = .milliseconds(200)
        let (_, expenses, network) = try await run(
            providers: 1, faults: faults,
            change: { plan in plan.patience = .seconds(3) }, Self.work)
        #expect(
            !expenses.isEmpty && expenses.allSatisfy { $0.state == .accepted && $0.accepted > .zero }, "\(expenses)")
        #expect(await network.rejected.isEmpty)
    }

    @Test(
        "what was made though its answer was lost is found, used and given back", arguments: ["allocations", "demands"])
    func lostAnswers(to what: String) async throws {
        var faults = FakeNetwork.Faults()
        faults.losesAnswers = [what]
        let (outcome, _, network) = try await run(providers: 1, faults: faults, Self.work)
        #expect(try outcome.get() == "fine fine")
        #expect(await network.calls.count { $0.hasPrefix("POST") && $0.hasSuffix("/" + what) } == 1)
    }

    @Test("an allocation that was asked for in a run that crashed then is given back")
    func allocationOfCrash() async throws {
        let folder = NSTemporaryDirectory() + "golem-crashed-\(UInt64.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let timeout = Timestamp.now() + .seconds(3600)
        do {
            let ledger = try Ledger(path: Ledger.path(folder: folder, run: "run"))
            try ledger.append(.opened(run: "run", budget: 1, platform: "erc20-hoodi-tglm", at: .now()))
            try ledger.append(.allocationAsked(1, timeout: timeout))
        }
        // That nothing is left is looked at where the run ends.
        let (outcome, _, _) = try await run(
            providers: 1, folder: folder,
            prepare: { await $0.leaveBehind(allocation: "old", total: 1, timeout: timeout) },
            Self.work)
        #expect(try outcome.get() == "fine fine")
    }

    @Test("a provider that refuses its agreement costs no time at the end, and leaves nothing open")
    func refusedAgreement() async throws {
        let folder = NSTemporaryDirectory() + "golem-refused-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let seen = Events()
        var faults = FakeNetwork.Faults()
        faults.refusing = [0]
        let (outcome, expenses, _) = try await run(
            providers: 2, faults: faults, machines: 2, folder: folder, change: { $0.onEvent = seen.add }, Self.work)
        #expect(try outcome.get() == "fine fine")
        #expect(expenses.map(\.providerName) == ["provider-1"], "nothing was rented of the other")
        #expect(!seen.all.contains { $0.kind == .waiting }, "nothing is waited for: \(seen.all)")
        #expect(try RunPayments.all(in: folder).allSatisfy { $0.closed != nil })
    }

    @Test("who sends no invoice is waited for aloud, not longer than allowed, and not when the run is ended meanwhile")
    func noInvoice() async throws {
        var faults = FakeNetwork.Faults()
        faults.sendsNoInvoice = true
        let seen = Events()
        let (outcome, expenses, _) = try await run(
            providers: 1, faults: faults,
            change: { plan in
                plan.invoiceLimit = .seconds(3)
                plan.onEvent = seen.add
            }, Self.work)
        #expect(try outcome.get() == "fine fine" && expenses.map(\.state) == [.noInvoice])
        let line = seen.all.first { $0.kind == .waiting }?.message
        #expect(line == "waiting for the last bill of provider-0, at most 3 s")

        let task = Shared<Task<Void, any Error>?>(nil)
        let began = ContinuousClock.now
        let cancelled = Task { [faults] in
            let (outcome, _, _) = try await run(
                providers: 1, faults: faults,
                change: { plan in
                    plan.invoiceLimit = .seconds(600)
                    plan.onEvent = { if $0.kind == .waiting { task.value?.cancel() } }
                }, Self.work)
            #expect(try outcome.get() == "fine fine", "what was done counts")
        }
        task.value = cancelled
        try await cancelled.value
        #expect(ContinuousClock.now - began < .seconds(60))
    }

    @Test("an allocation that somebody released, or that is used up, is replaced, and the bills are accepted")
    func lostAllocation() async throws {
        let network = FakeNetwork(providers: 1)
        let (outcome, expenses, _) = try await run(network) { pool in
            await network.releaseAllocations()
            return try await Self.work(pool)
        }
        #expect(try outcome.get() == "fine fine" && expenses.map(\.state) == [.accepted])
        #expect(await network.calls.count { $0 == "POST /payment-api/v1/allocations" } == 2)

        var faults = FakeNetwork.Faults()
        faults.firstAllocationPays = .zero
        let (again, used, poor) = try await run(providers: 1, faults: faults, Self.work)
        #expect(try again.get() == "fine fine" && used.map(\.state) == [.accepted])
        #expect(await poor.calls.count { $0 == "POST /payment-api/v1/allocations" } == 2)
    }

    @Test("bills are seen whatever the daemon's clock says, and the difference is told", arguments: [-90.0, 90])
    func otherClock(seconds: Double) async throws {
        var faults = FakeNetwork.Faults()
        faults.clock = .seconds(seconds)
        let seen = Events()
        let (outcome, expenses, _) = try await run(
            providers: 1, faults: faults, change: { $0.onEvent = seen.add }, Self.work)
        #expect(try outcome.get() == "fine fine" && expenses.map(\.state) == [.accepted])
        let warnings = seen.all.filter { $0.kind == .warning }.map(\.message)
        #expect(
            warnings.count == 1 && warnings[0].contains("90 s \(seconds < 0 ? "behind" : "ahead of") ours"),
            "\(warnings)")
    }

    @Test("what nobody can pay, and what is to be paid elsewhere, is refused", arguments: ["1e40", "much", "0.1"])
    func oddInvoices(amount: String) async throws {
        var faults = FakeNetwork.Faults()
        faults.invoiceAmount = amount
        if amount == "0.1" { faults.platform = "erc20-polygon-glm" }
        let (_, expenses, network) = try await run(providers: 1, faults: faults, Self.work)
        // By a debit note it is seen while the machine is being made ready, and it may be tried once more.
        #expect(!expenses.isEmpty && expenses.allSatisfy { $0.state == .rejected })
        #expect(await network.rejected.count == expenses.count)
        let reason = expenses.first?.reason ?? ""
        #expect(reason.contains(amount == "0.1" ? "`erc20-polygon-glm`" : "asks for \(amount) GLM"), "\(reason)")
    }

    @Test("while our own daemon is away nothing is late, nobody is blamed, and it is said once")
    func daemonAway() async throws {
        let network = FakeNetwork(providers: 1)
        let seen = Events()
        let work: @Sendable (MachinePool) async throws -> String = { pool in
            let machine = try await pool.next()
            await network.setAway(true)
            return try await withThrowingTaskGroup(of: String?.self) { group in
                group.addTask {
                    // A limit, and a patience, that are long over when the daemon comes back.
                    let results = try await machine.runChecked([.run("/bin/true")], limit: .seconds(1))
                    await pool.giveBack(machine)
                    return results.compactMap(\.stdout).joined()
                }
                group.addTask {
                    while !seen.all.contains(where: { $0.kind == .daemon }) {
                        try await Task.sleep(for: .milliseconds(10))
                    }
                    try await Task.sleep(for: .seconds(3))
                    await network.setAway(false)
                    return nil
                }
                var found: String?
                for try await one in group { found = one ?? found }
                // Another who waits is not turned away either.
                return try await (found ?? "") + Self.work(pool)
            }
        }
        let (outcome, expenses, _) = try await run(
            network,
            change: { plan in
                plan.patience = .seconds(3)
                plan.onEvent = seen.add
            }, work)
        #expect(try outcome.get() == "finefine fine")
        #expect(expenses.map(\.state) == [.accepted], "one machine, and it is paid: \(expenses)")
        let told = seen.all.filter { [.daemon, .warning, .machineLost, .providerLeft].contains($0.kind) }.map(\.message)
        #expect(told.count == 2 && told[0].contains("does not answer") && told[1].contains("answers again"), "\(told)")
    }

    @Test("while our own daemon cannot keep up, providers get more time; one that does not answer is late all the same")
    func daemonSlow() async throws {
        let network = FakeNetwork(providers: 1)
        let work: @Sendable (MachinePool) async throws -> String = { pool in
            let machine = try await pool.next()
            await network.setDelay(.milliseconds(1500))
            // The batch is sent, and its end is told: three seconds of our own daemon's.
            let results = try await machine.runChecked([.run("/bin/true")], limit: .seconds(2))
            await network.setDelay(.zero)
            await pool.giveBack(machine)
            return try await results.compactMap(\.stdout).joined() + Self.work(pool)
        }
        let (outcome, expenses, _) = try await run(network, work)
        #expect(try outcome.get() == "finefine fine")
        #expect(expenses.map(\.state) == [.accepted], "one machine, and it is paid: \(expenses)")

        let other = FakeNetwork(providers: 1)
        let hanging: @Sendable (MachinePool) async throws -> String = { pool in
            let machine = try await pool.next()
            await other.setDelay(.milliseconds(400))
            do {
                _ = try await machine.runChecked([.run("/bin/sleep")], limit: .seconds(1))
                return "it ended"
            } catch let error as GolemError {
                await other.setDelay(.zero)
                return "\(error.code)"
            }
        }
        let (end, _, _) = try await run(other, hanging)
        let what = try end.get()
        #expect(what == "timed-out", "\(what)")
    }

    @Test("a daemon that is away at the end leaves a ledger that says so, and the next run gives everything back")
    func daemonGone() async throws {
        let folder = NSTemporaryDirectory() + "golem-gone-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let network = FakeNetwork(providers: 1)
        let work: @Sendable (MachinePool) async throws -> String = { pool in
            let text = try await Self.work(pool)
            await network.setAway(true)
            return text
        }
        let (outcome, expenses, _) = try await run(
            network, folder: folder, mayLeaveSomething: true, change: { $0.daemonPatience = .seconds(1) }, work)
        #expect(try outcome.get() == "fine fine", "what was done counts")
        #expect(expenses.map(\.state) != [.accepted])
        #expect(await !network.leftovers.isEmpty)
        #expect(try RunPayments.all(in: folder).allSatisfy { $0.closed == nil && !$0.allocations.isEmpty })
        await network.setAway(false)
        let (again, later, _) = try await run(network, folder: folder, mayLeaveSomething: true, Self.work)
        #expect(try again.get() == "fine fine")
        // The demand of a run that could not withdraw it ends by itself within the hour; nothing is hired or paid by it.
        let leftovers = await network.leftovers
        #expect(leftovers.count == 1 && leftovers[0].hasPrefix("demand"), "\(leftovers)")
        #expect(later.count == 2 && later.allSatisfy { $0.state == .accepted }, "\(later)")
        #expect(try RunPayments.all(in: folder).allSatisfy { $0.closed != nil && $0.allocations.isEmpty })
    }

    @Test("a machine whose work was not usable is not paid")
    func unusable() async throws {
        let (_, expenses, network) = try await run(providers: 1) { pool in
            let machine = try await pool.next()
            await pool.discard(machine, because: "its results differ", pay: false)
        }
        #expect(expenses.map(\.state) == [.rejected])
        #expect(await network.rejected.values.first?.contains("its results differ") == true)
    }

    @Test("a budget that allows no machine is said to be so before anything is rented")
    func poor() async throws {
        let (outcome, expenses, _) = try await run(providers: 1, budget: Amount("0.001")!, Self.work)
        let error = #expect(throws: GolemError.self) { try outcome.get() }
        #expect(error?.code == .budget && expenses.isEmpty)
    }

    @Test("bills that come after the daemon's clock was set back are seen at once")
    func clockSetBack() async throws {
        let network = FakeNetwork(providers: 1)
        let (outcome, expenses, _) = try await run(network) { pool in
            try await pool.withMachine { machine in
                func work(notesAccepted count: Int) async throws {
                    try await machine.runChecked([.run("/bin/true")], limit: .seconds(10))
                    while await network.acceptances.count < count { try await Task.sleep(for: .milliseconds(5)) }
                }
                try await work(notesAccepted: 1)
                await network.setClock(.seconds(-600))
                let before = await network.acceptances.count
                try await work(notesAccepted: before + 1)
            }
        }
        try outcome.get()
        #expect(expenses.map(\.state) == [.accepted])
    }

    @Test("what a crashed run left is found in its ledger and given back; its acceptances count when it is resumed")
    func crashed() async throws {
        let folder = NSTemporaryDirectory() + "golem-crashed-\(UInt64.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let contract = Contract(
            providerID: "0x0", providerName: "old", price: LinearPrice(perSecond: 0.01, perCPUSecond: 0, start: 0),
            threads: 1)
        for run in ["run", "other"] {
            let ledger = try Ledger(path: Ledger.path(folder: folder, run: run))
            let entries: [LedgerEntry] = [
                .opened(run: run, budget: 1, platform: "erc20-hoodi-tglm", at: .now()), .allocation("al-\(run)", 1),
                .agreement("g-\(run)", contract, at: .now()), .activity("a-\(run)", "g-\(run)", at: .now()),
                .acceptingNote("n-\(run)", "a-\(run)", "g-\(run)", Amount("0.25")!),
            ]
            for entry in entries { try ledger.append(entry) }
        }
        let (outcome, expenses, _) = try await run(
            providers: 1, folder: folder,
            prepare: { network in
                for run in ["run", "other"] {
                    await network.leaveBehind(agreement: "g-\(run)", activity: "a-\(run)", allocation: "al-\(run)")
                }
            }, Self.work)
        #expect(try outcome.get() == "fine fine")
        let old = try #require(expenses.first { $0.agreementID == "g-run" })
        #expect(old.accepted >= Amount("0.25")!, "what may have been accepted before the crash counts")
        let past = try RunPayments.all(in: folder)
        #expect(past.count == 2 && past.allSatisfy { $0.closed != nil && $0.allocations.isEmpty })
    }
}
