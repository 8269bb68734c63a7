import NeuralNetwork
import Tensors

/// What a model says to the inputs of a shard; labels are not needed.
///
/// The predictions file has `predictions` F32 `[N, …output shape]` (probabilities where the loss is cross_entropy) and, for
/// cross_entropy, `classes` I64 `[N]`, the most probable class.
public struct PredictTask: WorkerTask {
    public static let command = "predict"

    public var weightsPath: String
    public var shardPath: String
    public var predictionsPath: String
    public var reportPath: String
    public var threads: Int
    /// Of the kernels; nil: the fastest of this machine. The result is the same.
    public var instructionSet: InstructionSet?

    public init(
        weightsPath: String, shardPath: String, predictionsPath: String, reportPath: String,
        threads: Int = availableProcessors(), instructionSet: InstructionSet? = nil
    ) {
        self.weightsPath = weightsPath
        self.shardPath = shardPath
        self.predictionsPath = predictionsPath
        self.reportPath = reportPath
        self.threads = threads
        self.instructionSet = instructionSet
    }

    public func perform(stage: inout Stage, progress: (TaskProgress) -> Void) throws(DeMLError) -> Report {
        let start = ContinuousClock.now
        let base = try loadWeights(weightsPath, stage: &stage)
        let model = base.weights.model
        let shard = try loadShard(shardPath, stage: &stage)
        stage = Stage("predict", file: shardPath)
        let predictStart = ContinuousClock.now
        let predictions: Tensor
        do throws(DeMLError) {
            let evaluator = try Evaluator(model: model, threads: threads, instructionSet: instructionSet)
            predictions = try evaluator.predict(base.weights, shard.x)
        } catch {
            throw error.within(shardPath)
        }
        let predictSeconds = seconds(since: predictStart)

        stage = Stage("write-predictions", file: predictionsPath)
        var file = Safetensors(
            tensors: [("predictions", predictions)],
            metadata: ["deml.weights_sha256": base.sha256, "deml.shard_sha256": shard.sha256])
        let count = predictions.shape[0]
        if model.loss == .crossEntropy {
            file["classes"] = Self.classes(try predictions.floats(), count: count)
        }
        var report = Report(status: .running, command: Self.command)
        report.predictionsSHA256 = try file.write(to: predictionsPath)
        report.examples = count
        report.samplesPerSecond = rate(count, predictSeconds)
        report.seconds = seconds(since: start)
        report.weightsSHA256 = base.sha256
        report.shardSHA256 = shard.sha256
        report.threads = threads
        report.isa = (instructionSet ?? .standard).rawValue
        return report
    }

    /// Index of each row's first largest element.
    private static func classes(_ values: [Float], count: Int) -> Tensor {
        let outputs = values.count / max(count, 1)
        let classes = (0..<count).map { row in
            let rest = values[row * outputs..<(row + 1) * outputs]
            let best = rest.max() ?? 0
            return Int64((rest.firstIndex(of: best) ?? rest.startIndex) - rest.startIndex)
        }
        return Tensor(shape: [count], int64s: classes)
    }
}
