import NeuralNetwork
import Tensors

/// Trains the model of a weights file on a shard and writes what changed.
public struct TrainTask: WorkerTask {
    public static let command = "train"

    public var weightsPath: String
    public var shardPath: String
    public var deltaPath: String
    public var reportPath: String
    public var options: TrainingOptions
    public var threads: Int
    /// Seconds from the beginning of the task after which training stops: after the batch in which they end. nil: no
    /// limit.
    public var maxSeconds: Double?
    /// Of the kernels; nil: the fastest of this machine. The result is the same.
    public var instructionSet: InstructionSet?

    public init(
        weightsPath: String, shardPath: String, deltaPath: String, reportPath: String, options: TrainingOptions,
        threads: Int = availableProcessors(), maxSeconds: Double? = nil, instructionSet: InstructionSet? = nil
    ) {
        self.weightsPath = weightsPath
        self.shardPath = shardPath
        self.deltaPath = deltaPath
        self.reportPath = reportPath
        self.options = options
        self.threads = threads
        self.maxSeconds = maxSeconds
        self.instructionSet = instructionSet
    }

    /// The task whose files lie in a task folder.
    public init(
        in folder: TaskFolder, options: TrainingOptions, threads: Int = availableProcessors(),
        maxSeconds: Double? = nil
    ) {
        self.init(
            weightsPath: folder.weights, shardPath: folder.shard, deltaPath: folder.delta, reportPath: folder.report,
            options: options, threads: threads, maxSeconds: maxSeconds)
    }

    public func perform(stage: inout Stage, progress: (TaskProgress) -> Void) throws(DeMLError) -> Report {
        let start = ContinuousClock.now
        stage = Stage("arguments")
        try options.validate()
        let base = try loadWeights(weightsPath, stage: &stage)
        let model = base.weights.model
        let (examples, shardSHA256) = try loadExamples(shardPath, for: model, stage: &stage)

        stage = Stage("train")
        let trainer = try Trainer(
            weights: base.weights, options: options, threads: threads, instructionSet: instructionSet)
        var finishedEpochs = 0
        let result = try trainer.train(
            on: examples,
            shouldStop: { maxSeconds.map { seconds(since: start) >= $0 } ?? false },
            onEpoch: { epoch in
                finishedEpochs += 1
                progress(
                    .epoch(
                        number: finishedEpochs, of: options.epochs, loss: epoch.loss, accuracy: epoch.accuracy,
                        samplesPerSecond: rate(epoch.examples, epoch.seconds)))
            })

        let parameters = trainer.weights.difference(from: base.weights)
        guard parameters.allSatisfy(\.isFinite) else {
            throw DeMLError(
                .notFinite, "training diverged: after \(result.steps) steps the weights are no numbers any more",
                hint: "try a smaller learning rate")
        }
        stage = Stage("write-delta", file: deltaPath)
        var delta = Delta(
            parameters: parameters, examples: examples.count, steps: result.steps, weightsSHA256: base.sha256,
            shardSHA256: shardSHA256, options: options)
        try delta.write(to: deltaPath, model: model)

        var report = Report(status: .running, command: Self.command)
        report.examples = examples.count
        report.steps = result.steps
        report.epochs = result.epochs.map { Report.Epoch(loss: $0.loss, accuracy: $0.accuracy, seconds: $0.seconds) }
        report.stoppedEarly = !result.isComplete
        report.samplesPerSecond = rate(result.samples, result.seconds)
        report.seconds = seconds(since: start)
        report.weightsSHA256 = base.sha256
        report.shardSHA256 = shardSHA256
        report.deltaSHA256 = delta.sha256
        report.threads = threads
        report.isa = trainer.instructionSet.rawValue
        if let sha256 = delta.sha256 { progress(.delta(sha256: sha256)) }
        return report
    }
}
