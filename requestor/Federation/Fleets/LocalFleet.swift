import Foundation
import NeuralNetwork
import Tensors
import Worker

/// Workers on this machine: a process each, with its own task folder laid out as in the Golem guest, an empty environment
/// and no stdin.
public final class LocalFleet: Fleet {
    public let name = "local"
    public let needsFiles = true

    private let worker: String
    private let slots: SlotPool
    private let threads: Int
    private let root: String

    /// - Parameters:
    ///   - worker: path of `deml-worker` (see ``findWorker(beside:)``).
    ///   - parallel: how many processes at once.
    ///   - threads: threads of each where an assignment does not say; by default the processors are shared out.
    ///   - folder: where the task folders are made, and removed in the end.
    public init(worker: String, parallel: Int, threads: Int? = nil, folder: String) throws(DeMLError) {
        guard parallel >= 1 else { throw DeMLError(.usage, "at least one worker is needed, not \(parallel)") }
        let path = Self.absolute(worker)
        guard FileManager.default.isExecutableFile(atPath: path), !Files.isDirectory(path) else {
            throw DeMLError(
                .notFound, "there is no worker to start", place: path,
                hint: "build it with: swift build -c release --product deml-worker")
        }
        self.worker = path
        slots = SlotPool(count: parallel)
        self.threads = threads ?? max(1, availableProcessors() / parallel)
        // A name of its own: workers that an earlier run of this folder has left may still be writing.
        root = Self.absolute(folder) + "/workers-\(ProcessInfo.processInfo.processIdentifier)"
    }

    /// The fleet for a run: as many processes as clients train at once, but no more than is good for this machine.
    public convenience init(worker: String, configuration: RunConfiguration, folder: RunFolder) throws(DeMLError) {
        try self.init(
            worker: worker,
            parallel: configuration.parallel
                ?? min(configuration.clientsPerRound, max(4, availableProcessors())),
            threads: configuration.threads, folder: folder.work)
    }

    /// `deml-worker` next to the given executable, or in the folders of `PATH`; `nil` when it is in neither.
    public static func findWorker(beside executable: String) -> String? {
        let beside = Files.path(Files.parent(of: executable) ?? ".", "deml-worker")
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        return ([beside] + folders.map { Files.path($0, "deml-worker") })
            .first { FileManager.default.isExecutableFile(atPath: $0) && !Files.isDirectory($0) }
    }

    private static func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    }

    public func withWorkers<Value: Sendable>(
        _ plan: FleetPlan, notice: @escaping @Sendable (FleetNotice) -> Void,
        perform: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try Files.createDirectory(root)
        defer { try? FileManager.default.removeItem(atPath: root) }
        return try await perform()
    }

    public func train(
        _ assignment: TrainAssignment, progress: @escaping @Sendable (WorkerProgress) -> Void
    ) async throws -> WorkerResult {
        let slot: Int
        do {
            slot = try await slots.acquire(avoiding: Set(assignment.avoiding.compactMap(Self.slot(ofProvider:))))
        } catch {
            throw WorkerFailure(.cancelled, provider: nil, stage: "start", message: "it was not needed any more")
        }
        defer { slots.release(slot) }
        let provider = Provider(id: "local-\(slot + 1)", name: "local-\(slot + 1)")
        progress(.started(provider))
        return try await LocalTask(
            worker: worker, folder: TaskFolder(root + "/" + provider.id), provider: provider, assignment: assignment,
            threads: assignment.threads ?? threads
        ).run(progress)
    }

    private static func slot(ofProvider id: String) -> Int? {
        guard id.hasPrefix("local-"), let number = Int(id.dropFirst("local-".count)) else { return nil }
        return number - 1
    }
}

/// One assignment in one process.
private struct LocalTask {
    let worker: String
    let folder: TaskFolder
    let provider: Provider
    let assignment: TrainAssignment
    let threads: Int
    private let start = ContinuousClock.now

    init(worker: String, folder: TaskFolder, provider: Provider, assignment: TrainAssignment, threads: Int) {
        self.worker = worker
        self.folder = folder
        self.provider = provider
        self.assignment = assignment
        self.threads = threads
    }

    /// What is only known in the end.
    private final class Printed: @unchecked Sendable {
        // Written by the thread that reads the process, read after that thread has ended.
        var digest: String?
    }

    func run(_ progress: @escaping @Sendable (WorkerProgress) -> Void) async throws -> WorkerResult {
        let bytesUp = try prepare()
        progress(.stage("train"))
        var assignment = assignment
        assignment.threads = threads
        let printed = Printed()
        let process = ChildProcess(
            executable: worker,
            arguments: WorkerCommand.arguments(
                for: assignment, weights: folder.weights, shard: folder.shard, delta: folder.delta,
                report: folder.report),
            directory: folder.work, timeLimit: assignment.timeLimit
        ) { line in
            if let epoch = WorkerCommand.epoch(fromLine: line) {
                progress(.epoch(epoch))
            } else if let digest = WorkerCommand.deltaDigest(fromLine: line) {
                printed.digest = digest
            }
        }
        let outcome: ChildProcess.Outcome
        do {
            outcome = try await process.run()
        } catch let error as DeMLError {
            throw failure(.lost, "start", error.summary, isRetryable: false, bytesUp: bytesUp)
        }
        let report = try? Report(contentsOf: folder.report)
        let bytesDown = (Files.size(of: folder.delta) ?? 0) + (Files.size(of: folder.report) ?? 0)
        func failed(_ kind: WorkerFailure.Kind, _ stage: String, _ message: String, retry: Bool = true) -> WorkerFailure
        {
            var failure = failure(kind, stage, message, isRetryable: retry, bytesUp: bytesUp, bytesDown: bytesDown)
            failure.report = report
            failure.exitCode = outcome.exitCode ?? outcome.signal.map { 128 + $0 }
            failure.standardErrorTail = outcome.standardErrorTail.isEmpty ? nil : outcome.standardErrorTail
            return failure
        }
        let stage = report?.stage ?? "train"
        if outcome.isLate { throw failed(.late, stage, "it took longer than \(assignment.timeLimit) s and was killed") }
        if outcome.signal != nil, Task.isCancelled { throw failed(.cancelled, stage, "it was not needed any more") }
        if let signal = outcome.signal {
            throw failed(.lost, stage, Report.explanation(exitCode: 128 + signal, report: report))
        }
        if let code = outcome.exitCode, code != 0 {
            // On this machine the same data and arguments are refused by every worker.
            throw failed(
                .worker, stage, Report.explanation(exitCode: code, report: report), retry: code != 64 && code != 65)
        }
        guard let report else {
            throw failed(.badResult, "verify", "it ended well but left no readable report")
        }
        do throws(DeMLError) {
            let update = try DeliveredFiles.verify(
                delta: folder.delta, report: report, assignment: assignment, printedDigest: printed.digest)
            return WorkerResult(
                update: update, report: report, provider: provider, bytesUp: bytesUp, bytesDown: bytesDown,
                seconds: seconds, deltaPath: assignment.keepsDelta ? try keptDelta() : nil)
        } catch {
            throw failed(.badResult, "verify", error.summary)
        }
    }

    /// Takes the delta out of the way of the next task in this folder.
    private func keptDelta() throws(DeMLError) -> String {
        let path = folder.root + "-round-\(assignment.round)-shard-\(assignment.client)-\(assignment.attempt).gz"
        do { try FileManager.default.moveItem(atPath: folder.delta, toPath: path) } catch {
            throw DeMLError(.io, "the delta cannot be kept", place: path, cause: error)
        }
        return path
    }

    /// Lays the files out and returns how many bytes a real machine would have had to receive.
    private func prepare() throws -> Int {
        do {
            guard let weights = assignment.weights.file, let shard = assignment.shard.file else {
                throw DeMLError(.internal, "the local fleet needs files")
            }
            try folder.create()
            for path in [folder.delta, folder.report] { try Files.remove(path) }
            // A shard that is here from an earlier round is another name of the same file.
            let isHere = Self.isSameFile(shard.path, folder.shard)
            if !isHere { try Self.place(shard.path, at: folder.shard) }
            try Self.place(weights.path, at: folder.weights)
            return weights.byteCount + (isHere ? 0 : shard.byteCount)
        } catch {
            throw failure(.lost, "upload", (error as? DeMLError)?.summary ?? "\(error)", isRetryable: false, bytesUp: 0)
        }
    }

    private static func place(_ source: String, at path: String) throws {
        try Files.remove(path)
        do { try FileManager.default.linkItem(atPath: source, toPath: path) } catch {
            try FileManager.default.copyItem(atPath: source, toPath: path)
        }
    }

    private static func isSameFile(_ first: String, _ second: String) -> Bool {
        guard let number = fileNumber(first) else { return false }
        return number == fileNumber(second)
    }

    private static func fileNumber(_ path: String) -> UInt64? {
        (try? FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? NSNumber)?.uint64Value
    }

    private func failure(
        _ kind: WorkerFailure.Kind, _ stage: String, _ message: String, isRetryable: Bool, bytesUp: Int,
        bytesDown: Int = 0
    ) -> WorkerFailure {
        WorkerFailure(
            kind, provider: provider, stage: stage, message: message, isRetryable: isRetryable, bytesUp: bytesUp,
            bytesDown: bytesDown, seconds: seconds)
    }

    private var seconds: Double { (ContinuousClock.now - start) / .seconds(1) }
}
