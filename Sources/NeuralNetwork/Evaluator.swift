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
    }

    /// Examples that run together at most.
    package var batchCapacity: Int { network.batchCapacity }

    /// Loss (without label smoothing), accuracy and confusion. Throws `notFinite` where the loss is no finite number.
    /// - Parameter metrics: whether all measures are taken.
    public func evaluate(
        _ weights: Weights, _ examples: Examples, metrics: Bool = false
    ) throws(DeMLError) -> Evaluation {
        precondition(weights.model == model, "the weights of another model")
        network.load(weights.parameters)
        return try evaluate(examples, metrics)
    }

    /// The same with weights that are still in their file.
    public func evaluate(
        _ file: WeightsFile, _ examples: Examples, metrics: Bool = false
    ) throws(DeMLError) -> Evaluation {
        precondition(file.model == model, "the weights of another model")
        try network.load(file)
        return try evaluate(examples, metrics)
    }

    private func evaluate(_ examples: Examples, _ wantsMetrics: Bool) throws(DeMLError) -> Evaluation {
        guard examples.count > 0 else { throw DeMLError(.missing, "there are no examples to evaluate") }
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
        try run(examples.x, rows: examples.indices) { (rows, first, count) in
            objective.setTargets(examples.y, rows: rows, first: first, count: count)
            let batch = objective.compare()
            sum.loss += batch.loss
            sum.correct += batch.correct
            let row = { (index: Int) in rows.map { Int($0[index]) } ?? first + index }
            let values = network.output.values
            switch examples.y {
            case .labels(let labels):
                for index in 0..<count {
                    guesses[index] = largest(values + index * outputs, outputs)
                    if classes > 0 { confusion[Int(labels[row(index)]) * classes + guesses[index]] += 1 }
                }
                guard ranked != nil else { return }
                deml_softmax_forward(network.pass.pool, count, outputs, values, values)
                for index in 0..<count {
                    ranked?.add(
                        label: Int(labels[row(index)]), predicted: guesses[index],
                        probabilities: values + index * outputs)
                }
            case .values(let targets):
                guard measured != nil else { return }
                targets.withUnsafeBufferPointer { targets in
                    guard let base = targets.baseAddress else { return }
                    for index in 0..<count {
                        measured?.add(targets: base + row(index) * outputs, predicted: values + index * outputs)
                    }
                }
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

    /// The model's answer to each input: `[N, classes]` probabilities for cross_entropy, `[N, …output shape]` for mse.
    public func predict(_ weights: Weights, _ x: Tensor) throws(DeMLError) -> Tensor {
        precondition(weights.model == model, "the weights of another model")
        network.load(weights.parameters)
        return try predict(x)
    }

    /// The same with weights that are still in their file.
    public func predict(_ file: WeightsFile, _ x: Tensor) throws(DeMLError) -> Tensor {
        precondition(file.model == model, "the weights of another model")
        try network.load(file)
        return try predict(x)
    }

    private func predict(_ x: Tensor) throws(DeMLError) -> Tensor {
        let inputs = try Examples.inputs(x, for: model)
        let output = network.output
        var predictions: [Float] = []
        predictions.reserveCapacity(inputs.shape[0] * output.size)
        try run(inputs, rows: nil) { (_, _, count) in
            if model.loss == .crossEntropy {
                deml_softmax_forward(network.pass.pool, count, output.size, output.values, output.values)
            }
            predictions.append(contentsOf: UnsafeBufferPointer(start: output.values, count: count * output.size))
        }
        if let index = predictions.firstIndex(where: { !$0.isFinite }) {
            throw DeMLError(.notFinite, "the prediction of example \(index / output.size) is \(predictions[index])")
        }
        return Tensor(shape: [inputs.shape[0]] + model.outputShape, floats: predictions)
    }

    /// Runs all batches forward. `body` gets the row numbers of a batch, or nil and the number of its first row.
    private func run(
        _ x: Tensor, rows: [Int64]?, _ body: (UnsafePointer<Int64>?, Int, Int) -> Void
    ) throws(DeMLError) {
        func batches(_ base: UnsafeRawPointer, _ all: UnsafePointer<Int64>?, _ total: Int) {
            let stride = x.rowCount * x.dtype.byteCount
            for first in Swift.stride(from: 0, to: total, by: network.batchCapacity) {
                let count = min(network.batchCapacity, total - first)
                let chosen = all.map { $0 + first }
                network.setInput(
                    all == nil ? base + first * stride : base, isBytes: x.dtype == .u8, rows: chosen, count: count)
                network.forward()
                body(chosen, first, count)
            }
        }
        try x.withUnsafeBytes { (bytes) throws(DeMLError) in
            guard let base = bytes.baseAddress else { throw DeMLError(.missing, "there are no examples") }
            if let rows {
                try rows.withPointer { (all) throws(DeMLError) in batches(base, all, rows.count) }
            } else {
                batches(base, nil, x.shape[0])
            }
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
    weights: Weights, examples: Examples, threads: Int = 1, batchSize: Int = 256, metrics: Bool = false
) throws(DeMLError) -> Evaluation {
    try Evaluator(model: weights.model, threads: threads, batchSize: min(batchSize, max(examples.count, 1)))
        .evaluate(weights, examples, metrics: metrics)
}

/// Predicts once; see ``Evaluator`` for many times.
public func predict(
    weights: Weights, x: Tensor, threads: Int = 1, batchSize: Int = 256
) throws(DeMLError) -> Tensor {
    try Evaluator(model: weights.model, threads: threads, batchSize: min(batchSize, max(x.shape.first ?? 1, 1)))
        .predict(weights, x)
}

/// Evaluates once, with weights that are still in their file.
public func evaluate(
    weights: WeightsFile, examples: Examples, threads: Int = 1, batchSize: Int = 256, metrics: Bool = false
) throws(DeMLError) -> Evaluation {
    try Evaluator(model: weights.model, threads: threads, batchSize: min(batchSize, max(examples.count, 1)))
        .evaluate(weights, examples, metrics: metrics)
}

/// Predicts once, with weights that are still in their file.
public func predict(
    weights: WeightsFile, x: Tensor, threads: Int = 1, batchSize: Int = 256
) throws(DeMLError) -> Tensor {
    try Evaluator(model: weights.model, threads: threads, batchSize: min(batchSize, max(x.shape.first ?? 1, 1)))
        .predict(weights, x)
}
