import Federation
import Fleets
import Foundation
import Jobs
import NeuralNetwork
import Synchronization
import Tensors

/// Uses a finished model on many rows by the machines of a fleet: what comes out is in the order of the rows, complete, each
/// once, and the same bytes as on this machine.
///
/// One call of ``run(_:)``; cancelling its task is the only way to stop it. What is done is in the folder, and the same
/// question in the same folder goes on with it.
///
/// A text to be written on is one row, and so one job: what is looked at of it are tokens.
public struct Inference: Sendable {
    /// How the work is given out.
    public struct Settings: Sendable {
        /// Machines at work at once.
        public var machines: Int
        /// Threads of each; nil: as the fleet decides.
        public var threads: Int?
        /// Which part of each answer is computed again here.
        public var audit: AuditPolicy
        /// Seconds after which an attempt is late.
        public var timeout = 3600.0
        /// How often a shard is given to another machine after a failure.
        public var retries = 3
        /// An attempt so many times slower than the median gets company; 0: never.
        public var stragglerFactor = 4.0

        public init(machines: Int, audit: AuditPolicy, threads: Int? = nil) {
            self.machines = machines
            self.audit = audit
            self.threads = threads
        }
    }

    /// The model's file, and what is in it.
    public struct Model: Sendable {
        public var file: StoredFile
        public var weights: WeightsFile

        public init(file: StoredFile, weights: WeightsFile) {
            self.file = file
            self.weights = weights
        }
    }

    public let model: Model
    /// `[N, …input shape]`; labels never leave home.
    public let rows: Tensor
    public let form: WorkerJob.PredictionForm
    public let settings: Settings
    /// What is asked, with the cut of when it was begun.
    public let question: InferenceQuestion
    private let folder: InferenceFolder
    private let lockFile: FolderLock

    var cut: ShardCut { question.cut }
    private var description: ModelDescription { model.weights.model }
    private var outputs: Int { form.shape(description).reduce(1, *) }

    /// Makes the folder, or goes on with what was begun in it.
    /// - Parameters:
    ///   - names: of model, data and rows, as people know them: what is said when they are others than before.
    ///   - rowsPerShard: nil: as ``ShardCut/init(rows:inputBytes:model:machines:)`` says.
    /// - Throws: `usage` where the folder is of another question or another process works on it; what reading the rows as
    ///   inputs of the model throws.
    public init(
        model: Model, rows: Tensor, form: WorkerJob.PredictionForm, settings: Settings, folder path: String,
        names: (model: String, data: String, part: String), rowsPerShard: Int? = nil
    ) throws(DeMLError) {
        // What no machine would take is found before one is rented.
        _ = try Examples(x: rows, targets: nil, for: model.weights.model)
        self.model = model
        self.rows = rows
        self.form = form
        self.settings = settings
        let folder = InferenceFolder(path: path)
        self.folder = folder
        try Files.createDirectory(path)
        lockFile = try FolderLock(path: folder.lock)
        question = try folder.enter(
            InferenceQuestion(
                modelSHA256: model.file.sha256, rowsSHA256: InferenceQuestion.digest(of: rows), form: form,
                cut: rowsPerShard.map { ShardCut(rows: rows.shape[0], rowsPerShard: $0) }
                    ?? ShardCut(rows, model: model.weights.model, machines: settings.machines),
                model: names.model, data: names.data, part: names.part))
        try folder.prepare()
    }

    /// Has the fleet do what is not done yet.
    /// - Parameter progress: told what happens, one event at a time.
    /// - Throws: `DeMLError`; ``InferenceInterrupted`` when the task was cancelled.
    public func run(
        on fleet: any Fleet, progress: @escaping @Sendable (InferenceEvent) -> Void
    ) async throws -> InferenceResult {
        let start = ContinuousClock.now
        var done: [Int: Provider] = [:]
        for shard in 0..<cut.count {
            if let answer = try folder.read(shard, rows: cut.range(shard).count, outputs: outputs) {
                done[shard] = answer.provider
            }
        }
        progress(
            .planned(
                InferenceEvent.Plan(
                    fleet: fleet.name, machines: settings.machines, cut: cut, done: Set(done.keys), of: rows,
                    model: description, modelBytes: model.file.byteCount, form: form)))
        try? FileManager.default.removeItem(atPath: folder.session)
        defer { try? FileManager.default.removeItem(atPath: folder.session) }
        guard done.count < cut.count else {
            return InferenceResult(
                seconds: 0, workSeconds: 0, rowsDone: 0, expenses: nil, audits: nil, providers: [])
        }
        try Files.createDirectory(folder.session)
        let open = cut.count - done.count
        let machines = min(settings.machines, open)
        let known = done
        do {
            let end = try await fleet.withSession(FleetPlan(machines: machines, folder: folder.session)) {
                progress(.notice($0))
            } _: { session in
                try await work(session, fleet, machines: machines, done: known, progress)
            }
            var result = end.value
            result.seconds = (ContinuousClock.now - start) / .seconds(1)
            result.expenses = end.expenses
            return result
        } catch {
            guard Task.isCancelled else { throw error }
            throw InferenceInterrupted(shardsDone: folder.answerCount, shards: cut.count, folder: folder.path)
        }
    }

    /// What the model says, `[N, outputs]`, in the order of the rows; all must be done.
    public func values() throws(DeMLError) -> [Float] {
        var values: [Float] = []
        values.reserveCapacity(cut.rows * outputs)
        for shard in 0..<cut.count {
            guard let answer = try folder.read(shard, rows: cut.range(shard).count, outputs: outputs) else {
                throw DeMLError(
                    .missing, "the answer to shard \(shard) is gone or damaged", place: folder.answer(shard),
                    hint: "the same command makes it again")
            }
            values += try answer.values.floats()
        }
        return values
    }

    /// Where a model is put that has no weights file of its own.
    public static func modelPath(in folder: String) -> String { InferenceFolder(path: folder).model }

    /// Takes the folder away, once what is in it is elsewhere.
    public func removeFolder() { folder.remove() }

    /// What would be done, without a folder: what it may cost is asked before anything begins.
    public static func plan(
        of rows: Tensor, by model: ModelDescription, modelBytes: Int, form: WorkerJob.PredictionForm, fleet: String,
        machines: Int
    ) -> InferenceEvent.Plan {
        InferenceEvent.Plan(
            fleet: fleet, machines: machines, cut: ShardCut(rows, model: model, machines: machines), of: rows,
            model: model, modelBytes: modelBytes, form: form)
    }

    // MARK: The loop

    private func work(
        _ session: any FleetSession, _ fleet: any Fleet, machines: Int, done: [Int: Provider],
        _ progress: @escaping @Sendable (InferenceEvent) -> Void
    ) async throws -> InferenceResult {
        let rules = RoundMachine.Rules(
            requiredAnswers: cut.count, retries: settings.retries,
            stragglerFactor: fleet.hasOtherMachines ? settings.stragglerFactor : 0)
        let machine = ShardMachine(
            shards: cut.count, done: done, rules: rules, looksAtAll: settings.audit != .off,
            // Another for each machine: its file is ready when the machine is.
            mostUnderWay: 2 * machines)
        let jobs = ShardJobs(
            model: model, rows: rows, form: form, cut: cut, folder: folder.session, writesFiles: fleet.needsFiles,
            compresses: fleet.name == "golem", settings: settings,
            weights: fleet.needsFiles ? nil : try Weights(of: model.weights))
        let home = HomePredictions(
            weights: model.weights, rows: rows, form: form, threads: max(1, availableProcessors() - 1))
        let driver = ShardDriver(
            session: session, jobs: jobs, home: home, folder: folder, cut: cut, outputs: outputs, audit: settings.audit,
            progress: progress)
        return try await driver.run(machine, doneBefore: done)
    }
}
