import Fleets
import Foundation
import Golem
import Jobs
import Tensors

/// The rented machines of a fleet while they are there. The market brings machines, the ``Dispatcher`` lends them to jobs.
struct GolemSession: FleetSession {
    private let source: any MachineSource
    private let book: SessionBook
    private let folder: String
    private let dispatcher: Dispatcher

    /// How long a job waits for a provider that has not failed on it before.
    static let patience = Duration.seconds(15)

    /// - Parameters:
    ///   - folder: where arriving files are put; exists.
    ///   - machines: how many the session wants.
    init(source: any MachineSource, book: SessionBook, folder: String, machines: Int) {
        self.source = source
        self.book = book
        self.folder = folder
        dispatcher = Dispatcher(target: machines)
    }

    /// Brings machines to the dispatcher while `body` runs, whose result is put into `result`.
    func run<Value: Sendable>(
        _ result: Shared<Result<Value, any Error>?>, _ body: @escaping @Sendable () async throws -> Value
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
                    let value = try await body()
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

    func judge(_ verdict: WorkVerdict, of provider: Provider) async {
        switch verdict {
        case .open: await source.holdBills(of: provider)
        case .closed: await source.releaseBills(of: provider)
        case .wrong(let reason, let isPaid):
            book.condemned(provider, because: reason)
            dispatcher.removeIdle(of: provider.id)
            await source.leave(provider, because: reason, pay: isPaid)
        }
    }

    func expenses() async -> Expenses? { book.withTasks(await source.expenses()) }

    func perform(
        _ wanted: FleetJob, progress: @escaping @Sendable (JobProgress) -> Void
    ) async throws -> JobAnswer {
        let (lease, job) = try await usableLease(wanted)
        let provider = lease.machine.provider
        progress(.started(provider))
        let folder = folder + "/" + job.name
        try Files.createDirectory(folder)
        let attempt = FleetAttempt(
            job: job, lease: lease, folder: folder,
            limit: TaskDeadline().seconds(
                work: TrainingWork(job), bytes: Self.bytes(of: job), speeds: speeds(lease), limit: job.timeLimit),
            progress: progress)
        let outcome: FleetAttempt.Outcome
        do {
            outcome = try await attempt.run()
        } catch {
            // Cancelled, or a mistake of ours: what runs there cannot be told to stop, so the machine goes.
            dispatcher.remove(lease)
            try? FileManager.default.removeItem(atPath: folder)
            await lease.machine.discard(because: "its task was called off", blame: false, pay: true)
            if error is CancellationError {
                throw WorkerFailure(.cancelled, provider: provider, stage: job.kind.name, message: "called off")
            }
            throw error
        }
        return try await settle(outcome, folder)
    }

    /// Bytes that may have to be moved, both ways: the output is about as large as the weights.
    private static func bytes(of job: FleetJob) -> Int {
        guard case .file(let weights)? = job.inputs[.weights] else { return job.inputBytes }
        return job.inputBytes + weights.byteCount
    }

    private func speeds(_ lease: Dispatcher.Lease) -> TaskDeadline.Speeds {
        TaskDeadline.Speeds(
            own: lease.speed, slowestOther: dispatcher.slowestSpeed,
            remembered: book.rememberedSpeed(lease.machine.provider))
    }

    /// A machine that is alive and will stay for this job, and the job as it fits the machine's agreement.
    private func usableLease(_ job: FleetJob) async throws -> (Dispatcher.Lease, FleetJob) {
        let lasting = try GuestFiles.lastingDigests(of: job)
        while true {
            let lease: Dispatcher.Lease
            do {
                lease = try await dispatcher.acquire(inputs: lasting, avoiding: job.avoiding)
            } catch is CancellationError {
                throw WorkerFailure(.cancelled, provider: nil, stage: "wait", message: "called off")
            } catch {
                throw WorkerFailure(
                    .lost, provider: nil, stage: "wait", message: "no machine: \(error)", isRetryable: false)
            }
            if lease.machine.isLost {
                dispatcher.remove(lease)
                await lease.machine.discard(because: "it is lost", blame: false, pay: lease.answers > 0)
                continue
            }
            if let reason = lease.machine.retirement {
                dispatcher.remove(lease)
                await lease.machine.discard(because: reason, blame: false, pay: true)
                continue
            }
            let time = AgreementTime(
                whole: lease.agreementSeconds, left: (lease.machine.expiration - .now()).inSeconds)
            let verdict = time.verdict(
                expected: TaskDeadline().expected(work: TrainingWork(job), speeds: speeds(lease)),
                maxSeconds: job.limits.maxSeconds, transfer: TaskDeadline().transfer(of: Self.bytes(of: job)))
            switch verdict {
            case .fits:
                return (lease, job)
            case .exchange:
                dispatcher.remove(lease)
                await lease.machine.discard(because: "its agreement ends soon", blame: false, pay: true)
            case .cut(let seconds):
                var cut = job
                cut.limits.maxSeconds = seconds.rounded(.down)
                tellCut(cut, lease.machine)
                return (lease, cut)
            }
        }
    }

    private func tellCut(_ job: FleetJob, _ machine: any TrainingMachine) {
        book.tell(
            FleetNotice(
                .info,
                "\(job.title): the work stops after \(Int(job.limits.maxSeconds ?? 0)) s, because the agreement ends at "
                    + "\(machine.expiration)", provider: machine.provider))
    }

    /// Gives the machine back or up, remembers what it did, and hands on the answer.
    private func settle(_ outcome: FleetAttempt.Outcome, _ folder: String) async throws -> JobAnswer {
        let machine = outcome.lease.machine
        switch outcome.answer {
        case .success(let answer):
            await machine.worked()
            dispatcher.release(outcome.lease)
            book.succeeded(machine.provider, speed: outcome.speed)
            return answer
        case .failure(let failure):
            try? FileManager.default.removeItem(atPath: folder)
            if outcome.isProvidersFault { book.failed(machine.provider, because: failure.description) }
            if outcome.isMachineLost || outcome.isProvidersFault {
                dispatcher.remove(outcome.lease)
                await machine.discard(
                    because: failure.message, blame: outcome.isProvidersFault, pay: outcome.lease.answers > 0)
            } else {
                dispatcher.release(outcome.lease)
            }
            throw failure
        }
    }
}
