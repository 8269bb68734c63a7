import Federation
import Foundation
import Golem
import Synchronization
import Tensors

/// Federation's fleet on rented machines: the one place where learning and the Golem Network meet.
///
/// A machine is rented once and kept for all rounds. It gets each shard once and the weights once a round, runs the worker
/// by its path, and its delta counts only when it is the one that the worker's report names. Who is slow, dead or
/// damaging is left after a second failure and remembered (``ProviderMemory``).
public final class GolemFleet: Fleet {
    public let name = "golem"
    public let needsFiles = true

    private let settings: GolemSettings
    private let memory: ProviderMemory
    private let rent: Renting
    private let state = Mutex(State())

    /// Rents machines for the time of a call. Tests put machines of their own here.
    package typealias Renting =
        @Sendable (
            _ request: RentingRequest, _ body: @Sendable @escaping (any MachineSource) async throws -> Void
        ) async throws -> Void

    package struct RentingRequest: Sendable {
        package var machines: Int
        package var runName: String
        /// Fails often, was slow, is dear: smaller is better, `nil` is never.
        package var score: @Sendable (Candidate) -> Double?
        package var onEvent: @Sendable (RentalEvent) -> Void
        /// Told the final table when everything is paid.
        package var onExpenses: @Sendable (Expenses) -> Void
    }

    private struct State {
        var dispatcher: Dispatcher?
        var source: (any MachineSource)?
        var notice: (@Sendable (FleetNotice) -> Void)?
        var folder = ""
        var attempts = 0
        var expenses: Expenses?
        var tasks: [String: Int] = [:]
        var blamed: Set<String> = []
    }

    /// A fleet on the daemon that `settings` name.
    /// - Throws: `DeMLError` with everything that is missing, before anything is spent.
    public convenience init(settings: GolemSettings, environment: [String: String]) throws {
        let folder = settings.dataFolder(environment: environment)
        try Files.createDirectory(folder)
        let memory = try ProviderMemory(path: folder + "/providers.sqlite")
        let renting = try GolemRenting(settings: settings, folder: folder)
        self.init(settings: settings, memory: memory, rent: renting.callAsFunction)
    }

    package init(settings: GolemSettings, memory: ProviderMemory, rent: @escaping Renting) {
        self.settings = settings
        self.memory = memory
        self.rent = rent
    }

    /// How long a training waits for a provider that has not failed on it before.
    static let patience = Duration.seconds(15)

    public func withWorkers<Value: Sendable>(
        _ plan: FleetPlan, notice: @escaping @Sendable (FleetNotice) -> Void,
        perform: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let wanted = plan.configuration.machines.parallel ?? plan.clientsPerRound
        let dispatcher = Dispatcher(target: wanted)
        let folder = plan.folder + "/golem"
        try Files.createDirectory(folder)
        state.withLock { state in
            state.dispatcher = dispatcher
            state.notice = notice
            state.folder = folder
        }
        for line in settings.costNotice(machines: wanted) { notice(FleetNotice(.info, line)) }
        let score = ProviderScore(try memory.records(at: Date()))
        let runFolder = Files.parent(of: plan.folder) ?? plan.folder
        let request = RentingRequest(
            machines: wanted, runName: try Self.runName(runFolder) ?? "",
            score: { candidate in
                guard let price = candidate.offer.price else { return nil }
                return score.value(
                    provider: candidate.providerID, price: price.perHour(threads: max(1, candidate.offer.threads ?? 1)),
                    failuresInRun: candidate.failures)
            },
            onEvent: { [self] event in take(event, notice) },
            onExpenses: { [self] expenses in state.withLock { $0.expenses = withTasks(expenses, $0.tasks) } })

        let result = Shared<Result<Value, any Error>?>(nil)
        do {
            try await rent(request) { [self] source in
                state.withLock { $0.source = source }
                try await work(source, dispatcher, result, perform)
            }
        } catch {
            state.withLock { $0.source = nil }
            // What the run itself threw says more than that the renting ended with it.
            if case .failure(let inner)? = result.with({ $0 }), !(inner is CancellationError) { throw inner }
            throw Self.readable(error)
        }
        state.withLock { $0.source = nil }
        guard let result = result.with({ $0 }) else { throw CancellationError() }
        return try result.get()
    }

    /// Brings machines to the dispatcher while `perform` runs.
    private func work<Value: Sendable>(
        _ source: any MachineSource, _ dispatcher: Dispatcher, _ result: Shared<Result<Value, any Error>?>,
        _ perform: @escaping @Sendable () async throws -> Value
    ) async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                do {
                    while true { dispatcher.add(try await source.next()) }
                } catch {
                    dispatcher.fail(error)
                    throw error
                }
            }
            group.addTask {
                while true {
                    try await Task.sleep(for: .seconds(1))
                    dispatcher.loosen(after: Self.patience)
                }
            }
            group.addTask {
                do {
                    let value = try await perform()
                    result.with { $0 = .success(value) }
                } catch {
                    result.with { $0 = .failure(error) }
                    throw error
                }
                return true
            }
            defer { group.cancelAll() }
            while let isDone = try await group.next() {
                if isDone { return }
            }
        }
    }

    public func train(
        _ wanted: TrainAssignment, progress: @escaping @Sendable (WorkerProgress) -> Void
    ) async throws -> WorkerResult {
        let (dispatcher, source) = state.withLock { ($0.dispatcher, $0.source) }
        guard let dispatcher, let source else {
            throw DeMLError(.internal, "the Golem fleet was asked to train outside withWorkers")
        }
        let (lease, assignment) = try await usableLease(wanted, dispatcher, source)
        let provider = lease.machine.provider
        progress(.started(provider))
        let folder = try attemptFolder(assignment)
        let attempt = FleetAttempt(
            assignment: assignment, lease: lease, folder: folder,
            limit: TaskDeadline().seconds(
                work: TrainingWork(assignment), bytes: Self.bytes(of: assignment), speeds: speeds(lease, dispatcher),
                limit: assignment.timeLimit),
            progress: progress)
        let outcome: FleetAttempt.Outcome
        do {
            outcome = try await attempt.run()
        } catch {
            // Cancelled, or a mistake of ours: what runs there cannot be told to stop, so the machine goes.
            dispatcher.remove(lease)
            try? FileManager.default.removeItem(atPath: folder)
            await source.discard(lease.machine, because: "its task was called off", blame: false, pay: true)
            if error is CancellationError {
                throw WorkerFailure(.cancelled, provider: provider, stage: "train", message: "called off")
            }
            throw error
        }
        return try await settle(outcome, dispatcher, source, folder)
    }

    private static func bytes(of assignment: TrainAssignment) -> Int {
        (assignment.shard.file?.byteCount ?? 0) + 2 * (assignment.weights.file?.byteCount ?? 0)
    }

    private func speeds(_ lease: Dispatcher.Lease, _ dispatcher: Dispatcher) -> TaskDeadline.Speeds {
        TaskDeadline.Speeds(
            own: lease.speed, others: dispatcher.speeds,
            remembered: (try? memory.record(lease.machine.provider.id, at: Date()))?.speed)
    }

    /// A machine that is alive and will stay for this task, and the task as it fits the machine's agreement.
    private func usableLease(
        _ assignment: TrainAssignment, _ dispatcher: Dispatcher, _ source: any MachineSource
    ) async throws -> (Dispatcher.Lease, TrainAssignment) {
        while true {
            let lease: Dispatcher.Lease
            do {
                lease = try await dispatcher.acquire(shard: assignment.client, avoiding: assignment.avoiding)
            } catch is CancellationError {
                throw WorkerFailure(.cancelled, provider: nil, stage: "wait", message: "called off")
            } catch {
                throw WorkerFailure(
                    .lost, provider: nil, stage: "wait", message: "no machine: \(error)", isRetryable: false)
            }
            if lease.machine.isLost {
                dispatcher.remove(lease)
                await source.discard(lease.machine, because: "it is lost", blame: false, pay: lease.answers > 0)
                continue
            }
            let time = AgreementTime(
                whole: lease.agreementSeconds, left: (lease.machine.expiration - .now()).inSeconds)
            let verdict = time.verdict(
                expected: TaskDeadline().expected(work: TrainingWork(assignment), speeds: speeds(lease, dispatcher)),
                maxSeconds: assignment.maxSeconds,
                transfer: TaskDeadline().transfer(of: Self.bytes(of: assignment)))
            switch verdict {
            case .fits:
                return (lease, assignment)
            case .exchange:
                dispatcher.remove(lease)
                await source.discard(lease.machine, because: "its agreement ends soon", blame: false, pay: true)
            case .cut(let seconds):
                var cut = assignment
                cut.maxSeconds = seconds.rounded(.down)
                tellCut(cut, lease.machine)
                return (lease, cut)
            }
        }
    }

    private func tellCut(_ assignment: TrainAssignment, _ machine: any TrainingMachine) {
        state.withLock { $0.notice }?(
            FleetNotice(
                .info,
                "round \(assignment.round), shard \(assignment.client): the work stops after "
                    + "\(Int(assignment.maxSeconds ?? 0)) s, because the agreement ends at \(machine.expiration)",
                provider: machine.provider))
    }

    private func attemptFolder(_ assignment: TrainAssignment) throws -> String {
        let (base, number) = state.withLock { state in
            state.attempts += 1
            return (state.folder, state.attempts)
        }
        let folder = "\(base)/\(assignment.round)-\(assignment.client)-\(number)"
        try Files.createDirectory(folder)
        return folder
    }

    /// Gives the machine back or up, remembers what it did, and hands on the answer.
    private func settle(
        _ outcome: FleetAttempt.Outcome, _ dispatcher: Dispatcher, _ source: any MachineSource, _ folder: String
    ) async throws -> WorkerResult {
        let machine = outcome.lease.machine
        let provider = machine.provider
        switch outcome.answer {
        case .success(let result):
            dispatcher.release(outcome.lease)
            state.withLock { $0.tasks[provider.id, default: 0] += 1 }
            try? memory.succeeded(provider.id, name: provider.name, speed: outcome.speed, at: Date())
            return result
        case .failure(let failure):
            try? FileManager.default.removeItem(atPath: folder)
            if outcome.isProvidersFault {
                state.withLock { _ = $0.blamed.insert(provider.id) }
                try? memory.failed(provider.id, name: provider.name, reason: failure.description, at: Date())
            }
            if outcome.isMachineLost || outcome.isProvidersFault {
                dispatcher.remove(outcome.lease)
                await source.discard(
                    machine, because: failure.message, blame: outcome.isProvidersFault, pay: outcome.lease.answers > 0)
            } else {
                dispatcher.release(outcome.lease)
            }
            throw failure
        }
    }

    public func expenses() async -> Expenses? {
        let (source, final) = state.withLock { ($0.source, $0.expenses) }
        if let source {
            let expenses = await source.expenses()
            return state.withLock { withTasks(expenses, $0.tasks) }
        }
        return final
    }

    private func withTasks(_ expenses: Expenses, _ tasks: [String: Int]) -> Expenses {
        var expenses = expenses
        var seen: Set<String> = []
        for index in expenses.agreements.indices {
            // Tasks are counted by provider; the first agreement with it shows them.
            let id = expenses.agreements[index].provider.id
            expenses.agreements[index].tasks = seen.insert(id).inserted ? tasks[id] ?? 0 : 0
        }
        return expenses
    }

    // MARK: What the market says

    private func take(_ event: RentalEvent, _ notice: @Sendable (FleetNotice) -> Void) {
        if event.kind == .providerLeft, let id = event.providerID {
            let isKnown = state.withLock { !$0.blamed.insert(id).inserted }
            // Failures of tasks are remembered where they happen; here remain those of agreements and activities.
            if !isKnown {
                for _ in 0..<2 {
                    try? memory.failed(id, name: event.providerName ?? id, reason: event.message, at: Date())
                }
            }
        }
        guard let level = event.level else { return }
        var details = ["kind": event.kind.rawValue]
        details["agreement"] = event.agreementID
        details["activity"] = event.activityID
        details["amount"] = event.amount?.description
        let amount = event.amount.map { " (\($0) GLM)" } ?? ""
        notice(
            FleetNotice(
                level, event.message + amount,
                provider: event.providerID.map { Provider(id: $0, name: event.providerName ?? $0) }, details: details))
    }

    /// The name of a run's ledger: the folder's name and a number that is drawn once and kept in the folder, so that a
    /// resumed run goes on with its ledger, and a new run in an old place begins one.
    package static func runName(_ folder: String, isNew: Bool = true) throws -> String? {
        let file = folder + "/golem-run"
        if let bytes = try? Files.read(file, maximumBytes: 200) { return String(decoding: bytes, as: UTF8.self) }
        guard isNew else { return nil }
        let letters = Files.name(of: folder).map {
            $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) ? $0 : "-"
        }
        let number = String(UInt32.random(in: .min ... .max), radix: 16)
        let name = String(String(letters).suffix(60)) + "-" + String(repeating: "0", count: 8 - number.count) + number
        try Files.writeAtomically(Array(name.utf8), to: file)
        return name
    }

    /// The client's error as the command prints errors.
    static func readable(_ error: any Error) -> any Error {
        guard let error = error as? GolemError else { return error }
        let code: DeMLError.Code =
            switch error.code {
            case .noMachine, .budget, .unreachable: .workerFailed
            case .timedOut: .timedOut
            case .usage, .unauthorized: .usage
            default: .io
            }
        let more =
            error.code == .noMachine
            ? "`deml offers` shows who is there and what the limits leave" : "`deml doctor` looks at everything"
        return DeMLError(
            code, error.message, place: error.place, hint: error.hint.map { $0 + "; " + more } ?? more,
            cause: error.cause ?? (error.request == nil ? nil : error))
    }
}

extension RentalEvent {
    /// Whether a person should know, and how urgently.
    var level: FleetNotice.Level? {
        switch kind {
        case .machineLost, .providerLeft, .billRefused, .budget, .daemon, .warning: .warning
        case .leftover, .allocated, .released, .machineReady, .invoice: .info
        case .demand, .offer, .offerRefused, .negotiation, .agreement, .activity, .machineClosed, .debitNote: nil
        }
    }
}
