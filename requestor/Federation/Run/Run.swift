import Datasets
import Fleets
import Foundation
import NeuralNetwork
import Tensors

/// A run was cancelled; everything up to the last finished round is saved.
public struct RunInterrupted: Error, Sendable, CustomStringConvertible {
    /// Rounds that are finished and saved.
    public var finishedRounds: Int
    public var folder: String

    public var description: String {
        "interrupted after \(finishedRounds) finished rounds; go on with --resume \(folder)"
    }
}

/// Federated training from the first round to the summary.
///
/// ```
///  prepare ──▶ [ weights ──fleet──▶ updates ──check, average──▶ weights ──evaluate──▶ checkpoint ]* ──▶ comparison ──▶ summary
/// ```
///
/// One call of ``run()``; cancelling its task is the only way to stop it, and leaves the last finished round.
public struct Run: Sendable {
    private let plan: RunPlan
    private let fleet: any Fleet
    private let onEvent: (@Sendable (RunEvent) -> Void)?
    private let storage: RunStorage
    private let isResumed: Bool
    private let begun: Date?
    private let clock: @Sendable () -> Date
    /// What happens in the run. May be subscribed to before the run begins.
    public let feed: RunFeed

    /// - Parameters:
    ///   - plan: what ``RunPlan`` has prepared.
    ///   - fleet: who trains.
    ///   - resume: go on with the run that the plan's folder holds, if it holds one. Without it such a folder is refused.
    ///   - onEvent: an observer of the ``feed``, told every event, one at a time and in order. The end of the run waits
    ///     for it, though not for ever (see ``RunObservation/finished(patience:)``).
    ///   - begun: when the run was asked for: what is said of its time counts from there. `nil`: when ``run()`` is called.
    ///   - clock: the time of events.
    public init(
        _ plan: RunPlan, fleet: any Fleet, resume: Bool = false, begun: Date? = nil,
        onEvent: (@Sendable (RunEvent) -> Void)? = nil, clock: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.init(
            plan, fleet: fleet, resume: resume, begun: begun, clock: clock, storage: RunStorage(), onEvent: onEvent)
    }

    /// A run on another disk than this machine's.
    package init(_ plan: RunPlan, fleet: any Fleet, resume: Bool = false, files: any RunFiles) {
        self.init(
            plan, fleet: fleet, resume: resume, begun: nil, clock: { Date() }, storage: RunStorage(files: files),
            onEvent: nil)
    }

    private init(
        _ plan: RunPlan, fleet: any Fleet, resume: Bool, begun: Date?, clock: @escaping @Sendable () -> Date,
        storage: RunStorage, onEvent: (@Sendable (RunEvent) -> Void)?
    ) {
        self.begun = begun
        self.clock = clock
        self.plan = plan
        self.fleet = fleet
        feed = RunFeed(folder: plan.folder, now: clock)
        self.onEvent = onEvent
        self.storage = storage
        isResumed = resume
    }

    /// Performs the run.
    /// - Throws: ``ConfigurationError``, `DeMLError`, or ``RunInterrupted`` when the task was cancelled.
    public func run() async throws -> Summary {
        let observation = onEvent.map { feed.observe($0) }
        let result: Result<Summary, any Error>
        do { result = .success(try await performed()) } catch { result = .failure(error) }
        feed.finish()
        _ = await observation?.finished()
        return try result.get()
    }

    private func performed() async throws -> Summary {
        let folder = plan.folder
        try storage.createDirectory(folder.path)
        let lock = try FolderLock(path: folder.lock)
        defer { withExtendedLifetime(lock) {} }
        try enterFolder()
        let journal = feed
        try journal.open()
        let rounds = RunRounds(
            plan: plan, fleet: fleet, store: CheckpointStore(folder: folder, storage: storage), journal: journal,
            begun: begun ?? clock(), clock: clock)
        do {
            let summary = try await rounds.run()
            journal.record(
                .runFinished(RunEvent.RunEnded(rounds: summary.rounds, accuracy: summary.accuracy, message: nil)))
            try journal.check()
            try? storage.remove(folder.work)
            return summary
        } catch {
            try? storage.remove(folder.work)
            let finished = (try? folder.lastFinishedRound()) ?? 0
            if Task.isCancelled {
                let interrupted = RunInterrupted(finishedRounds: finished, folder: folder.path)
                journal.record(
                    .runInterrupted(
                        RunEvent.RunEnded(rounds: finished, accuracy: nil, message: interrupted.description)))
                throw interrupted
            }
            let message = (error as? DeMLError)?.summary ?? "\(error)"
            journal.record(.runFailed(RunEvent.RunEnded(rounds: finished, accuracy: nil, message: message)))
            throw error
        }
    }

    /// Makes sure that the folder is new, or holds this very run and is to be resumed, and writes the settings.
    private func enterFolder() throws {
        let folder = plan.folder
        if Files.exists(folder.config) {
            guard isResumed else {
                throw DeMLError(
                    .usage, "the folder already holds a run", place: folder.path,
                    hint: "go on with --resume \(folder.path), or choose another --output")
            }
            let differences = try folder.readConfiguration().differences(resumed: plan.configuration)
            guard differences.isEmpty else {
                throw DeMLError(
                    .usage,
                    "a resumed run keeps its settings, but these differ: "
                        + differences.map(\.description).joined(separator: "; "), place: folder.path,
                    hint: "leave them away, or start another run")
            }
        }
        try storage.replace(folder.data, with: try RunJSON.encode(plan.data))
        try storage.replace(folder.config, with: try RunJSON.encode(plan.configuration))
    }
}

extension RunFolder {
    /// The last finished round; `nil` when there is none.
    func lastFinishedRound() throws -> Int? {
        guard Files.isDirectory(rounds) else { return nil }
        return try Files.names(in: rounds).compactMap { Int($0) }.max()
    }
}
