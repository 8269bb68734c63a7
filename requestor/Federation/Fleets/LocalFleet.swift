import Foundation
import Jobs
import NeuralNetwork
import Synchronization
import Tensors
import Worker

/// Workers on this machine: a process each, with a folder of its own for the job and what comes of it, an empty
/// environment and no stdin. Weights and shards are read where they are, and a delta that is read at once is not
/// compressed.
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
            parallel: configuration.machines.parallel
                ?? min(configuration.clientsPerRound, max(4, availableProcessors())),
            threads: configuration.machines.threads, folder: folder.work)
    }

    /// `deml-worker` next to the given executable, or in the folders of `PATH`; `nil` when it is in neither.
    public static func findWorker(beside executable: String) -> String? {
        let beside = Files.path(Files.parent(of: executable) ?? ".", "deml-worker")
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        return ([beside] + folders.map { Files.path($0, "deml-worker") })
            .first { FileManager.default.isExecutableFile(atPath: $0) && !Files.isDirectory($0) }
    }

    fileprivate static func absolute(_ path: String) -> String {
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
            worker: worker, folder: root + "/" + provider.id, provider: provider, assignment: assignment,
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
    private let worker: String
    /// Working folder of the process, absolute: the job, the report and the delta are in it.
    private let folder: String
    private let provider: Provider
    private let assignment: TrainAssignment
    private let job: WorkerJob
    private let start = ContinuousClock.now

    init(worker: String, folder: String, provider: Provider, assignment: TrainAssignment, threads: Int) {
        self.worker = worker
        self.folder = folder
        self.provider = provider
        var assignment = assignment
        assignment.threads = threads
        self.assignment = assignment
        job = assignment.job(
            weights: LocalFleet.absolute(assignment.weights.file?.path ?? ""),
            shard: LocalFleet.absolute(assignment.shard.file?.path ?? ""),
            // What is kept is kept compressed; what is read at once is not worth the time.
            delta: folder + (assignment.keepsDelta ? "/delta.safetensors.gz" : "/delta.safetensors"),
            report: folder + "/report.json")
    }

    private var delta: String { job.output ?? "" }

    func run(_ progress: @escaping @Sendable (WorkerProgress) -> Void) async throws -> WorkerResult {
        let bytesUp = try prepare()
        progress(.stage("train"))
        let reader = Mutex(ProgressReader(job))
        let process = ChildProcess(
            executable: worker, arguments: ["run", "job.json"], directory: folder, timeLimit: assignment.timeLimit
        ) { bytes in
            for epoch in reader.withLock({ $0.take(bytes) }) { progress(.epoch(epoch)) }
        }
        let outcome: ChildProcess.Outcome
        do {
            outcome = try await process.run()
        } catch let error as DeMLError {
            throw failure(.lost, "start", error.summary, isRetryable: false, bytesUp: bytesUp)
        }
        let receipt = Result { () throws(DeMLError) in try Receipt(contentsOf: job.report) }
        let said = try? receipt.get()
        let bytesDown = (Files.size(of: delta) ?? 0) + (Files.size(of: job.report) ?? 0)
        func failed(_ kind: WorkerFailure.Kind, _ stage: String, _ message: String, retry: Bool = true) -> WorkerFailure
        {
            var failure = failure(kind, stage, message, isRetryable: retry, bytesUp: bytesUp, bytesDown: bytesDown)
            failure.report = said
            failure.exitCode = outcome.exitCode ?? outcome.signal.map { 128 + $0 }
            failure.standardErrorTail = outcome.standardErrorTail.isEmpty ? nil : outcome.standardErrorTail
            return failure
        }
        let stage = said?.refusal?.stage ?? "train"
        if outcome.isLate { throw failed(.late, stage, "it took longer than \(assignment.timeLimit) s and was killed") }
        if outcome.signal != nil, Task.isCancelled { throw failed(.cancelled, stage, "it was not needed any more") }
        if let signal = outcome.signal {
            throw failed(.lost, stage, Receipt.explanation(exitCode: 128 + signal, receipt: said))
        }
        if let code = outcome.exitCode, code != 0 {
            // On this machine the same data and arguments are refused by every worker.
            throw failed(
                .worker, stage, Receipt.explanation(exitCode: code, receipt: said), retry: code != 64 && code != 65)
        }
        do throws(DeMLError) {
            let answer = try DeliveredFiles.verify(
                delta: delta, receipt: try receipt.get(), job: job, assignment: assignment)
            return WorkerResult(
                update: answer.update, report: answer.receipt, training: answer.training, provider: provider,
                bytesUp: bytesUp, bytesDown: bytesDown, seconds: seconds,
                deltaPath: assignment.keepsDelta ? try keptDelta() : nil)
        } catch {
            throw failed(.badResult, "verify", error.summary)
        }
    }

    /// Takes the delta out of the way of the next task in this folder.
    private func keptDelta() throws(DeMLError) -> String {
        let path = folder + "-round-\(assignment.round)-shard-\(assignment.client)-\(assignment.attempt).gz"
        do { try FileManager.default.moveItem(atPath: delta, toPath: path) } catch {
            throw DeMLError(.io, "the delta cannot be kept", place: path, cause: error)
        }
        return path
    }

    /// Writes the job, clears away what a former one has left, and returns the bytes that the worker is given: the job's.
    /// Weights and shard it reads where they are.
    private func prepare() throws -> Int {
        do throws(DeMLError) {
            try job.validate()
            try Files.createDirectory(folder)
            for name in ["delta.safetensors", "delta.safetensors.gz", "report.json"] {
                try Files.remove(folder + "/" + name)
            }
            let text = Array(job.json.utf8)
            try Files.writeAtomically(text, to: folder + "/job.json")
            return text.count
        } catch {
            throw failure(.lost, "upload", error.summary, isRetryable: false, bytesUp: 0)
        }
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
