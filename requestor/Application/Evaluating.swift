import Datasets
import NeuralNetwork
import Tensors

/// A model's test.
public struct EvaluateRequest: Sendable {
    /// A weights file, or a run folder (its best model).
    public var model: String
    public var data: DataRequest
    /// Nil: the test set, where there is one; else all.
    public var part: DatasetPart?
    /// One a core where it is not said.
    public var threads: Int?

    public init(model: String, data: DataRequest = DataRequest(), part: DatasetPart? = nil, threads: Int? = nil) {
        self.model = model
        self.data = data
        self.part = part
        self.threads = threads
    }
}

public struct EvaluateAnswer: Sendable {
    public var evaluation: Evaluation
    /// Name of the dataset.
    public var dataset: String
    /// The part that was measured.
    public var part: DatasetPart
    /// What a person is to know of how the data was taken.
    public var notes: [Decision]
    /// A name for every row of the confusion matrix; empty for a regression.
    public var classes: [String]
    public var seconds: Double
}

extension Application {
    /// Tests a model: accuracy, loss, and which classes it takes for each other.
    public func evaluate(_ request: EvaluateRequest) throws -> EvaluateAnswer {
        let (model, data, examples) = try evaluated(request)
        let start = ContinuousClock.now
        let evaluation = try NeuralNetwork.evaluate(
            weights: model.weights, examples: examples, threads: try Threads.checked(request.threads), metrics: true)
        return EvaluateAnswer(evaluation, model, data, seconds: (ContinuousClock.now - start) / .seconds(1))
    }

    /// What a test is of.
    func evaluated(_ request: EvaluateRequest) throws -> (ModelArgument, ModelData, Examples) {
        let model = try ModelArgument(request.model, paths)
        let data = try ModelData(request.data, model, part: request.part, paths)
        do throws(DeMLError) {
            guard let y = data.y else {
                throw DeMLError(
                    .missing, "the examples have no labels to compare with",
                    hint: model.schema.targetColumns.isEmpty
                        ? "deml predict takes examples alone"
                        : "the label column is \(model.schema.targetColumns.joined(separator: ", ")); deml predict takes examples alone"
                )
            }
            return (model, data, try Examples(x: data.x, y: y, for: model.weights.model))
        } catch {
            throw error.within(paths.shown(data.path))
        }
    }
}

extension EvaluateAnswer {
    init(_ evaluation: Evaluation, _ model: ModelArgument, _ data: ModelData, seconds: Double) {
        let names = model.schema.classNames ?? []
        self.init(
            evaluation: evaluation, dataset: data.name, part: data.part, notes: data.notes,
            classes: evaluation.confusion.indices.map { names.indices.contains($0) ? names[$0] : "\($0)" },
            seconds: seconds)
    }
}
