import CKernels
import Tensors

/// How well a model does on examples it is not trained on.
public struct Evaluation: Sendable, Equatable, Codable {
    /// Mean over the examples.
    public var loss: Double
    /// Share of the examples that are classified right; nil for a regression.
    public var accuracy: Double?
    /// `confusion[true class][predicted class]`; empty for a regression, and for more than
    /// ``Evaluator/mostConfusedClasses`` classes.
    public var confusion: [[Int]]
    public var count: Int
    /// All measures, where they were asked for.
    public var metrics: Metrics?
}

/// Runs a model forward only, without dropout. To be used by one caller at a time; reusable for any weights of its model.
public final class Evaluator {
    /// A confusion matrix of more classes nobody reads, and its memory grows with their square.
    public static let mostConfusedClasses = 1000

    private let model: ModelDescription
    private let network: Network
    private let objective: Objective
    private let batch: ExampleBatch

    /// - Parameters:
    ///   - batchSize: examples that run together; it changes memory and speed, not the result.
    ///   - examples: where it is known how many there will be at a time: no memory is taken for more.
    public init(
        model: ModelDescription, threads: Int = 1, batchSize: Int = 256, examples: Int = .max,
        instructionSet: InstructionSet? = nil
    ) throws(DeMLError) {
        guard batchSize > 0 else { throw DeMLError(.usage, "a batch has at least one example") }
        let batchSize = min(batchSize, max(examples, 1))
        self.model = model
        let kernels = try KernelPool(threads: threads, instructionSet: instructionSet)
        network = try Network(model: model, purpose: .inference, batchCapacity: batchSize, kernels: kernels)
        objective = Objective(network, labelSmoothing: 0)
        batch = ExampleBatch(network, objective)
    }

    /// Examples that run together at most.
    package var batchCapacity: Int { network.batchCapacity }

    /// Loss (without label smoothing), accuracy and confusion. Throws `notFinite` where the loss or a weight is no finite
    /// number, and what reading the examples throws.
    /// - Parameter metrics: whether all measures are taken.
    public func evaluate(
        _ weights: some ModelWeights, _ examples: some ExampleSource, metrics wantsMetrics: Bool = false
    ) throws(DeMLError) -> Evaluation {
        guard examples.count > 0 else { throw DeMLError(.missing, "there are no examples to evaluate") }
        try network.load(weights)
        let isClassifier = model.loss == .crossEntropy
        let outputs = network.output.size
        let classes = isClassifier && outputs <= Self.mostConfusedClasses ? outputs : 0
        var confusion = [Int](repeating: 0, count: classes * classes)
        var ranked =
            wantsMetrics && isClassifier ? ClassificationCounter(classes: outputs, examples: examples.count) : nil
        var measured =
            wantsMetrics && !isClassifier ? RegressionCounter(outputs: outputs, examples: examples.count) : nil
        var guesses = [Int](repeating: 0, count: isClassifier ? network.batchCapacity : 0)
        var sum = BatchResult()
        try run(examples, needsTargets: true) { count in
            let result = objective.compare()
            sum.loss += result.loss
            sum.correct += result.correct
            let values = network.output.values
            guard isClassifier else {
                guard measured != nil, let targets = objective.values.baseAddress else { return }
                makeProbabilities(count)
                for index in 0..<count {
                    measured?.add(targets: targets + index * outputs, predicted: values + index * outputs)
                }
                return
            }
            for index in 0..<count {
                guesses[index] = largest(values + index * outputs, outputs)
                if classes > 0 { confusion[Int(objective.labels[index]) * classes + guesses[index]] += 1 }
            }
            guard ranked != nil else { return }
            deml_softmax_forward(network.pass.pool, count, outputs, values, values)
            for index in 0..<count {
                ranked?.add(
                    label: Int(objective.labels[index]), predicted: guesses[index],
                    probabilities: values + index * outputs)
            }
        }
        guard sum.loss.isFinite else {
            throw DeMLError(.notFinite, "the loss is \(sum.loss)", hint: "the weights are too large to compute with")
        }
        return Evaluation(
            loss: sum.loss / Double(examples.count),
            accuracy: isClassifier ? Double(sum.correct) / Double(examples.count) : nil,
            confusion: (0..<classes).map { Array(confusion[$0 * classes..<($0 + 1) * classes]) },
            count: examples.count,
            metrics: ranked.map { .classification($0.metrics()) } ?? measured.map { .regression($0.metrics()) })
    }

    /// The model's answer to each input: `[N, classes]` probabilities for cross_entropy, else `[N, …output shape]`: outputs,
    /// or for bce_with_logits their probabilities.
    /// Targets are not needed. Throws `notFinite` where an answer or a weight is no finite number, and what reading the
    /// inputs throws.
    public func predict(_ weights: some ModelWeights, _ inputs: some ExampleSource) throws(DeMLError) -> Tensor {
        try network.load(weights)
        let output = network.output
        var predictions: [Float] = []
        predictions.reserveCapacity(inputs.count * output.size)
        try run(inputs, needsTargets: false) { count in
            if model.loss == .crossEntropy {
                deml_softmax_forward(network.pass.pool, count, output.size, output.values, output.values)
            }
            makeProbabilities(count)
            predictions.append(contentsOf: UnsafeBufferPointer(start: output.values, count: count * output.size))
        }
        if let index = predictions.firstIndex(where: { !$0.isFinite }) {
            throw DeMLError(.notFinite, "the prediction of example \(index / output.size) is \(predictions[index])")
        }
        return Tensor(shape: [inputs.count] + model.outputShape, floats: predictions)
    }

    /// Of bce_with_logits: the outputs of `count` examples are made the probabilities that they stand for, which is what
    /// people ask for and what is measured.
    private func makeProbabilities(_ count: Int) {
        guard model.loss == .binaryCrossEntropy else { return }
        let output = network.output
        deml_activation_forward(
            network.pass.pool, DEML_SIGMOID, deml_activation_options(), count * output.size, output.values,
            output.values)
    }

    /// Runs all batches forward. `body` gets the number of examples of a batch.
    private func run(
        _ source: some ExampleSource, needsTargets: Bool, _ body: (Int) -> Void
    ) throws(DeMLError) {
        for first in stride(from: 0, to: source.count, by: network.batchCapacity) {
            let count = min(network.batchCapacity, source.count - first)
            try batch.load(count, of: source, needsTargets: needsTargets) { first + $0 }
            network.forward()
            body(count)
        }
    }

    /// The first of the largest.
    private func largest(_ values: UnsafePointer<Float>, _ count: Int) -> Int {
        var best = 0
        for index in 1..<count where values[index] > values[best] { best = index }
        return best
    }
}

/// Evaluates once; see ``Evaluator`` for many times.
public func evaluate(
    weights: some ModelWeights, examples: some ExampleSource, threads: Int = 1, batchSize: Int = 256,
    metrics: Bool = false
) throws(DeMLError) -> Evaluation {
    try Evaluator(model: weights.model, threads: threads, batchSize: batchSize, examples: examples.count)
        .evaluate(weights, examples, metrics: metrics)
}

/// Predicts once; see ``Evaluator`` for many times.
public func predict(
    weights: some ModelWeights, x: Tensor, threads: Int = 1, batchSize: Int = 256
) throws(DeMLError) -> Tensor {
    let inputs = try Examples(x: x, targets: nil, for: weights.model)
    return try Evaluator(model: weights.model, threads: threads, batchSize: batchSize, examples: inputs.count)
        .predict(weights, inputs)
}
