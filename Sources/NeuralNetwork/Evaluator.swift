import CKernels
import Tensors

/// How well a model does on examples it is not trained on.
public struct Evaluation: Sendable, Equatable, Codable {
    /// Mean over the examples, or over the labels where each example has several.
    public var loss: Double
    /// Share of the examples (or labels) that are classified right; nil for a regression.
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
    ///   - batchSize: examples that run together; it changes memory and speed, not the result. Nil: as many as the caches
    ///     of so many threads hold of the model's largest layer.
    ///   - examples: where it is known how many there will be at a time: no memory is taken for more.
    public init(
        model: ModelDescription, threads: Int = 1, batchSize: Int? = nil, examples: Int = .max,
        instructionSet: InstructionSet? = nil
    ) throws(DeMLError) {
        guard batchSize.map({ $0 > 0 }) ?? true else { throw DeMLError(.usage, "a batch has at least one example") }
        let batchSize = min(batchSize ?? Self.batchSize(for: model, threads: threads), max(examples, 1))
        self.model = model
        let kernels = try KernelPool(threads: threads, instructionSet: instructionSet)
        network = try Network(model: model, purpose: .inference, batchCapacity: batchSize, kernels: kernels)
        objective = Objective(network, labelSmoothing: 0)
        batch = ExampleBatch(network, objective)
    }

    /// Bytes of a layer's inputs and outputs that a thread's share of the caches holds, about.
    private static let cacheBytes = 6.0 * 1024 * 1024

    /// 32 for the large CNN of MNIST on one thread, where a batch of 256 is a tenth slower; small models take
    /// ``summedTogether``. Each thread of many gets a few rows.
    static func batchSize(for model: ModelDescription, threads: Int) -> Int {
        let fitting = Int(min(1e6, Double(max(1, threads)) * cacheBytes / (4 * model.largestLayer)))
        return max(16, 4 * threads, min(summedTogether, fitting / 8 * 8))
    }

    /// Losses of so many examples are summed before they are added to those of the others: the sum's rounding must not
    /// depend on how many run together.
    static let summedTogether = 256

    /// Examples that run together at most.
    package var batchCapacity: Int { network.batchCapacity }

    /// Loss (without label smoothing), accuracy and confusion. Throws `notFinite` where the loss or a weight is no finite
    /// number, and what reading the examples throws.
    /// - Parameter metrics: whether all measures are taken.
    public func evaluate(
        _ weights: some ModelWeights, _ examples: some ExampleSource, metrics wantsMetrics: Bool = false
    ) throws(DeMLError) -> Evaluation {
        try network.load(weights)
        return try measure(examples, metrics: wantsMetrics) { _, _ in network.forward() }
    }

    /// The same of outputs that the model has given elsewhere, `[examples, outputs]` as ``predict(_:_:bare:)`` gives them
    /// bare: the very same measures, bit by bit.
    public func evaluate(
        outputs: [Float], _ examples: some ExampleSource, metrics wantsMetrics: Bool = false
    ) throws(DeMLError) -> Evaluation {
        let size = network.output.size
        guard outputs.count == examples.count * size else {
            throw DeMLError(
                .shape,
                "\(examples.count) examples have \(examples.count * size) outputs, but there are \(outputs.count)")
        }
        return try measure(examples, metrics: wantsMetrics) { first, count in
            outputs.withUnsafeBufferPointer {
                guard let start = $0.baseAddress else { return }
                network.output.values.update(from: start + first * size, count: count * size)
            }
        }
    }

    /// - Parameter forward: makes the outputs of `count` examples from `first` on the network's.
    private func measure(
        _ examples: some ExampleSource, metrics wantsMetrics: Bool, forward: (_ first: Int, _ count: Int) -> Void
    ) throws(DeMLError) -> Evaluation {
        guard examples.count > 0 else { throw DeMLError(.missing, "there are no examples to evaluate") }
        let isClassifier = model.loss == .crossEntropy
        let each = model.labelsPerExample
        // Of one answer: to a classifier's label, or of a regression's example.
        let outputs = network.output.size / each
        let classes = isClassifier && outputs <= Self.mostConfusedClasses ? outputs : 0
        var confusion = [Int](repeating: 0, count: classes * classes)
        var ranked =
            wantsMetrics && isClassifier
            ? ClassificationCounter(classes: outputs, examples: examples.count.multipliedSaturated(by: each)) : nil
        var measured =
            wantsMetrics && !isClassifier ? RegressionCounter(outputs: outputs, examples: examples.count) : nil
        var guesses = [Int](repeating: 0, count: isClassifier ? network.batchCapacity * each : 0)
        var (loss, part, seen, correct, compared) = (0.0, 0.0, 0, 0, 0)
        try run(examples, needsTargets: true, forward) { count in
            let result = objective.compare()
            correct += result.correct
            compared += result.compared
            for index in 0..<count {
                for label in index * each..<(index + 1) * each { part += Double(objective.losses[label]) }
                seen += 1
                guard seen % Self.summedTogether == 0 else { continue }
                loss += part
                part = 0
            }
            let values = network.output.values
            guard isClassifier else {
                guard measured != nil, let targets = objective.values.baseAddress else { return }
                makeProbabilities(count)
                for index in 0..<count {
                    measured?.add(targets: targets + index * outputs, predicted: values + index * outputs)
                }
                return
            }
            for index in 0..<count * each where objective.labels[index] >= 0 {
                guesses[index] = largest(values + index * outputs, outputs)
                if classes > 0 { confusion[Int(objective.labels[index]) * classes + guesses[index]] += 1 }
            }
            guard ranked != nil else { return }
            deml_softmax_forward(network.pass.pool, count * each, outputs, values, values)
            for index in 0..<count * each where objective.labels[index] >= 0 {
                ranked?.add(
                    label: Int(objective.labels[index]), predicted: guesses[index],
                    probabilities: values + index * outputs)
            }
        }
        loss += part
        guard loss.isFinite else {
            throw DeMLError(.notFinite, "the loss is \(loss)", hint: "the weights are too large to compute with")
        }
        guard compared > 0 else {
            throw DeMLError(
                .missing, "every label of the examples is \(ModelDescription.ignoredLabel), which is ignored")
        }
        return Evaluation(
            loss: loss / Double(compared),
            accuracy: isClassifier ? Double(correct) / Double(compared) : nil,
            confusion: (0..<classes).map { Array(confusion[$0 * classes..<($0 + 1) * classes]) },
            count: examples.count,
            metrics: ranked.map { .classification($0.metrics()) } ?? measured.map { .regression($0.metrics()) })
    }

    /// The model's answer to each input: `[N, classes]` or `[N, tokens, classes]` probabilities for cross_entropy, else `[N, …output shape]`: outputs,
    /// or for bce_with_logits their probabilities.
    /// Targets are not needed. `bare`: always the outputs of the last layer as they are.
    /// Throws `notFinite` where an answer or a weight is no finite number, and what reading the
    /// inputs throws.
    public func predict(
        _ weights: some ModelWeights, _ inputs: some ExampleSource, bare: Bool = false
    ) throws(DeMLError) -> Tensor {
        try network.load(weights)
        let output = network.output
        var predictions: [Float] = []
        predictions.reserveCapacity(inputs.count * output.size)
        let forward = { (_: Int, _: Int) in self.network.forward() }
        try run(inputs, needsTargets: false, forward) { count in
            if !bare {
                if model.loss == .crossEntropy {
                    deml_softmax_forward(
                        network.pass.pool, count * model.labelsPerExample, model.classes, output.values, output.values)
                }
                makeProbabilities(count)
            }
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
        _ source: some ExampleSource, needsTargets: Bool, _ forward: (_ first: Int, _ count: Int) -> Void,
        _ body: (Int) -> Void
    ) throws(DeMLError) {
        for first in stride(from: 0, to: source.count, by: network.batchCapacity) {
            let count = min(network.batchCapacity, source.count - first)
            try batch.load(count, of: source, needsTargets: needsTargets) { first + $0 }
            forward(first, count)
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
    weights: some ModelWeights, examples: some ExampleSource, threads: Int = 1, batchSize: Int? = nil,
    metrics: Bool = false
) throws(DeMLError) -> Evaluation {
    try Evaluator(model: weights.model, threads: threads, batchSize: batchSize, examples: examples.count)
        .evaluate(weights, examples, metrics: metrics)
}

/// Predicts once; see ``Evaluator`` for many times.
public func predict(
    weights: some ModelWeights, x: Tensor, threads: Int = 1, batchSize: Int? = nil
) throws(DeMLError) -> Tensor {
    let inputs = try Examples(x: x, targets: nil, for: weights.model)
    return try Evaluator(model: weights.model, threads: threads, batchSize: batchSize, examples: inputs.count)
        .predict(weights, inputs)
}
