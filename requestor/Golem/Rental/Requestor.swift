import Tracing
import Waiting

/// Rents machines on the Golem Network for the time of one call.
///
/// ```swift
/// let requestor = Requestor(client: client, plan: plan)
/// try await requestor.run { pool in
///     let machine = try await pool.next()
///     try await machine.runChecked([.run("/bin/uname", arguments: ["-a"])], limit: .seconds(60))
///     await pool.giveBack(machine)
/// }
/// for line in await requestor.expenses() { print(line) }
/// ```
/// Everything happens under `run`, and cancellation is the only way to stop it. On every way out activities are
/// destroyed, agreements terminated, invoices handled up to a limit, and the allocation released. What an earlier run
/// of ours left behind when it crashed is found in the ledgers and released at the start.
public actor Requestor {
    private let client: GolemClient
    private let image: ImageSource
    /// Its image has an address and a hash while something is rented.
    private var plan: RentalPlan
    private var finalExpenses: [Expense] = []

    /// Nothing is rented before ``run(_:)``.
    public init(client: GolemClient, plan: RentalPlan) {
        self.client = client
        self.plan = plan
        image = plan.image
    }

    /// Rents, runs `body`, and gives everything back, whether `body` returns, throws or is cancelled.
    ///
    /// - Throws: what `body` throws; `budget` if the funds or the rest of the budget do not suffice; `conflict` if a
    ///   run of this name is going on; what is wrong with the image (``ImageSource/provided(by:registry:_:)``); what keeps
    ///   the daemon from being reached.
    public func run<Result: Sendable>(
        _ body: @Sendable @escaping (MachinePool) async throws -> Result
    ) async throws -> Result {
        try await image.provided(by: client, registry: plan.registry) { package in
            try await self.run(package, body)
        }
    }

    private func run<Result: Sendable>(
        _ package: TaskPackage, _ body: @Sendable @escaping (MachinePool) async throws -> Result
    ) async throws -> Result {
        plan.image = ImageSource(package)
        try plan.checkDemand()
        let stop = OneShot<Void>()
        // Only `body` sees a cancellation: what follows it must be done to its end.
        return try await withTaskCancellationHandler {
            try await shielded { try await self.rent(body, stop) }
        } onCancel: {
            stop.set(())
        }
    }

    /// The table of costs; final after ``run(_:)`` has returned or thrown.
    public func expenses() -> [Expense] { finalExpenses }

    private func rent<Result: Sendable>(
        _ body: @Sendable @escaping (MachinePool) async throws -> Result, _ stop: OneShot<Void>
    ) async throws -> Result {
        _ = try await client.me()
        try Ledger.createFolder(plan.ledgerFolder)
        let ledger = try await LedgerRecovery(client: client, emit: plan.onEvent).open(
            Ledger.path(folder: plan.ledgerFolder, run: plan.runName), run: plan.runName)
        // Another run in this process may go on with it.
        defer { ledger.close() }
        let treasurer = Treasurer(
            client: client, ledger: ledger, budget: plan.budget, runName: plan.runName, plan: plan)
        await LeftoverSearch(client: client, plan: plan).releaseOthers()
        await treasurer.releaseLeftovers(invoiceLimit: .seconds(10))
        let started = Timestamp.now()
        try await treasurer.begin(budget: plan.budget, platform: plan.paymentPlatform, at: started)
        guard await treasurer.remainingBudget > .zero else {
            await treasurer.closeLedger()
            finalExpenses = await treasurer.expenses()
            ledger.close()
            throw GolemError(
                .budget, "the budget of \(plan.budget) GLM is used up", place: "run \(plan.runName)",
                hint: "give the run a larger budget")
        }
        let outcome: Swift.Result<Result, any Error>
        do {
            let asked = Timestamp.system()
            let allocation: Allocation
            if let given = plan.allocation {
                allocation = try await treasurer.reuse(given, platform: plan.paymentPlatform)
            } else {
                allocation = try await treasurer.allocate(treasurer.remainingBudget)
            }
            // When somebody else's was made says nothing of the clocks.
            let clocks = ClockDifference(
                daemon: plan.allocation == nil ? allocation.made : nil, asked: asked, answered: .system())
            if let warning = clocks.warning { plan.onEvent(RentalEvent(.warning, warning)) }
            let decorations = try await client.payment.decorations(for: [allocation.id])
            let session = "\(plan.runName)-\(UInt32.random(in: 0...UInt32.max))"
            let engine = Engine(
                plan: plan, client: client, treasurer: treasurer, decorations: decorations, session: session)
            outcome = await operate(engine, treasurer, clocks.eventsBegin, stop, body)
        } catch {
            outcome = .failure(error)
        }
        await treasurer.releaseAllocation()
        await treasurer.closeLedger()
        finalExpenses = await treasurer.expenses()
        ledger.close()
        return try outcome.get()
    }

    /// Everything that goes on at the same time, until `body` has ended and all is given back.
    private func operate<Result: Sendable>(
        _ engine: Engine, _ treasurer: Treasurer, _ since: Timestamp, _ stop: OneShot<Void>,
        _ body: @Sendable @escaping (MachinePool) async throws -> Result
    ) async -> Swift.Result<Result, any Error> {
        await treasurer.connect(
            endAgreement: { await engine.endAgreement($0, code: $1, reason: $2) },
            budgetExhausted: { await engine.stop(.budget, $0, closeCode: "Cancelled") })
        let plan = plan
        return await withTaskGroup(of: Void.self) { group in
            group.addTask { await engine.carryOutOrders() }
            group.addTask { await engine.watchDaemon() }
            group.addTask { await engine.client.measurePace(every: .seconds(1)) }
            group.addTask { await engine.tick(every: .milliseconds(150)) }
            group.addTask { await engine.followDemand() }
            group.addTask { await engine.followAgreements(since: since) }
            group.addTask { await treasurer.handleDebitNotes(since: since) }
            group.addTask { await treasurer.handleInvoices(since: since) }
            group.addTask { await treasurer.watchBudget(every: .seconds(1), margin: .seconds(10)) }
            group.addTask { await treasurer.keepAllocation() }
            let outcome: Swift.Result<Result, any Error>
            do {
                outcome = .success(try await Requestor.race(body, MachinePool(engine: engine), stop))
            } catch {
                outcome = .failure(error)
            }
            // Whoever held bills back is gone.
            await treasurer.releaseAllBills()
            await engine.shutDown(within: .seconds(45))
            // Who ends the run while it waits for bills does not wait for them. A run that is ended already waits for the
            // bills of what was done; a second Ctrl-C ends the process.
            await withSpan("golem.settle") { _ in
                await treasurer.settleUp(within: plan.invoiceLimit, enough: stop.value == nil ? stop : nil)
            }
            group.cancelAll()
            return outcome
        }
    }

    private static func race<Result: Sendable>(
        _ body: @Sendable @escaping (MachinePool) async throws -> Result, _ pool: MachinePool, _ stop: OneShot<Void>
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask { try await body(pool) }
            group.addTask {
                try await stop.wait()
                return nil
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw CancellationError() }
            if let result = first { return result }
            // Cancelled: what the body makes of it counts, a result included.
            group.cancelAll()
            guard let last = try await group.next(), let result = last else { throw CancellationError() }
            return result
        }
    }
}

/// Finds runs of ours that crashed, in the ledgers of the same folder, and gives back what they left.
struct LeftoverSearch {
    let client: GolemClient
    let plan: RentalPlan

    func releaseOthers() async {
        let own = Ledger.path(folder: plan.ledgerFolder, run: plan.runName)
        for path in Ledger.paths(in: plan.ledgerFolder) where path != own {
            let ledger: Ledger
            do {
                ledger = try Ledger(path: path)
            } catch let error as GolemError where error.code == .conflict {
                continue  // That run is alive.
            } catch {
                plan.onEvent(RentalEvent(.warning, "an earlier run cannot be cleaned up after: \(error)"))
                continue
            }
            guard case .opened(let run, let budget, _, _)? = ledger.entries.first else { continue }
            let state = PaymentStateMachine(budget: budget, replaying: ledger.entries)
            guard state.closedAt == nil else { continue }
            let treasurer = Treasurer(client: client, ledger: ledger, budget: budget, runName: run, plan: plan)
            await treasurer.releaseLeftovers(invoiceLimit: .seconds(10))
            await treasurer.closeLedger()
        }
    }
}

/// The machines that a ``Requestor`` holds. Valid inside its `run`.
public struct MachinePool: Sendable {
    let engine: Engine

    /// Waits for a machine that is ready and not lent, and lends it.
    ///
    /// - Parameter excluding: providers not wanted, e.g. those that failed the same task before.
    /// - Throws: `noMachine` when for ``RentalPlan/patience`` there was none that would do, with what hindered;
    ///   `budget` when it is spent; `stopped`; `CancellationError`.
    public func next(excluding: Set<NodeID> = []) async throws -> Machine {
        let (ticket, answer) = await engine.ask(excluding: excluding)
        do {
            return try await answer.wait().get()
        } catch is CancellationError {
            await engine.withdraw(ticket, answer)
            throw CancellationError()
        }
    }

    /// Returns a machine that works. One that is lost is discarded.
    public func giveBack(_ machine: Machine) async {
        await engine.giveBack(machine)
    }

    /// Says of a machine that is kept that it did what it was asked. Where its provider fails later and nobody else is left
    /// to rent from, it is asked again soon. ``giveBack(_:)`` says so by itself.
    public func worked(_ machine: Machine) async { await engine.worked(machine) }

    /// Returns a machine that is not wanted any more: its activity is destroyed, its agreement ended, and another takes
    /// its place.
    ///
    /// - Parameters:
    ///   - reason: for the provider and the log.
    ///   - blame: counts as a failure of the provider; after ``RentalPlan/failuresAllowed`` it is left.
    ///   - pay: false if its work was not delivered in usable form: the invoice is rejected.
    public func discard(_ machine: Machine, because reason: String, blame: Bool = true, pay: Bool = true) async {
        await engine.discard(machine, because: reason, blame: blame, pay: pay)
    }

    /// Leaves a provider for the rest of the run: what runs there ends, and it is not hired again.
    ///
    /// - Parameter pay: false if nothing that it did in this run was of use: its bills are refused.
    public func leave(_ provider: NodeID, because reason: String, pay: Bool) async {
        await engine.leave(provider, because: reason, pay: pay)
    }

    /// Bills of this provider wait until ``releaseBills(of:)`` is called as often: its work is being looked at. A debit
    /// note waits for half of the time in which it must be accepted, and no longer.
    public func holdBills(of provider: NodeID) async { await engine.holdBills(of: provider) }

    /// Bills of this provider are accepted or refused again.
    public func releaseBills(of provider: NodeID) async { await engine.releaseBills(of: provider) }

    /// Lends a machine for the time of `body`. If `body` throws and the machine is lost, it is discarded.
    public func withMachine<Result: Sendable>(
        excluding: Set<NodeID> = [], _ body: @Sendable (Machine) async throws -> Result
    ) async throws -> Result {
        let machine = try await next(excluding: excluding)
        do {
            let result = try await body(machine)
            await giveBack(machine)
            return result
        } catch {
            await giveBack(machine)
            throw error
        }
    }

    /// Waits until `count` machines are ready or `limit` has passed; returns how many there are.
    public func waitForMachines(_ count: Int, limit: Duration) async throws -> Int {
        let end = ContinuousClock.now + limit
        while true {
            let ready = await engine.readyCount
            if ready >= count || ContinuousClock.now >= end { return ready }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    /// What there is now.
    public func machines() async -> [MachineInfo] { await engine.machines }

    /// Changes how many machines are kept.
    public func setTarget(_ count: Int) async { await engine.setTarget(count) }

    /// The table of costs so far.
    public func expenses() async -> [Expense] { await engine.treasurer.expenses() }
}

/// A machine as the pool sees it.
public struct MachineInfo: Sendable, Equatable {
    /// `lent`: a task has it.
    public enum State: String, Sendable { case negotiating, starting, idle, lent, closing }
    /// Who it is rented from.
    public var providerID: NodeID
    /// Its name.
    public var providerName: String
    /// What it does.
    public var state: State
}
