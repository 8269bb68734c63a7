import NeuralNetwork
import Tensors

/// Loss and accuracy of a weights file on a shard.
public struct EvaluateTask: WorkerTask {
    public static let command = "evaluate"

    public var weightsPath: String
    public var shardPath: String
    public var reportPath: String
    public var threads: Int
    /// Of the kernels; nil: the fastest of this machine. The result is the same.
    public var instructionSet: InstructionSet?

    public init(
        weightsPath: String, shardPath: String, reportPath: String, threads: Int = availableProcessors(),
        instructionSet: InstructionSet? = nil
    ) {
        self.weightsPath = weightsPath
        self.shardPath = shardPath
        self.reportPath = reportPath
        self.threads = threads
        self.instructionSet = instructionSet
    }

    public func perform(stage: inout Stage, progress: (TaskProgress) -> Void) throws(DeMLError) -> Report {
        let start = ContinuousClock.now
        let base = try loadWeights(weightsPath, stage: &stage)
        let (examples, shardSHA256) = try loadExamples(shardPath, for: base.weights.model, stage: &stage)
        stage = Stage("evaluate")
        let evaluateStart = ContinuousClock.now
        let evaluator = try Evaluator(model: base.weights.model, threads: threads, instructionSet: instructionSet)
        let evaluation = try evaluator.evaluate(base.weights, examples)
        guard evaluation.loss.isFinite else {
            throw DeMLError(.notFinite, "the loss is no number: the outputs of the model overflow")
        }

        var report = Report(status: .running, command: Self.command)
        report.examples = examples.count
        report.loss = evaluation.loss
        report.accuracy = evaluation.accuracy
        report.confusion = evaluation.confusion
        report.samplesPerSecond = rate(examples.count, seconds(since: evaluateStart))
        report.seconds = seconds(since: start)
        report.weightsSHA256 = base.sha256
        report.shardSHA256 = shardSHA256
        report.threads = threads
        report.isa = (instructionSet ?? .standard).rawValue
        return report
    }
}
