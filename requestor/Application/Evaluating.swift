import Datasets
import NeuralNetwork
import Tensors

/// A model's test.
public struct EvaluateRequest: Sendable {
    /// A weights file, or a run folder (its best model).
    public var model: String
    public var data: DataRequest
    public var part: DatasetPart
    /// One a core where it is not said.
    public var threads: Int?

    public init(model: String, data: DataRequest = DataRequest(), part: DatasetPart = .test, threads: Int? = nil) {
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
    /// A name for every row of the confusion matrix; empty for a regression.
    public var classes: [String]
    public var seconds: Double
}

extension Application {
    /// Tests a model: accuracy, loss, and which classes it takes for each other.
    public func evaluate(_ request: EvaluateRequest) throws -> EvaluateAnswer {
        let model = try ModelArgument(request.model, paths)
        let description = model.weights.model
        let dataset: Dataset
        let examples: Examples
        do throws(DeMLError) {
            dataset = try request.data.dataset(paths).fitted(to: description.inputShape)
            let part = try request.part.part(of: dataset)
            examples = try Examples(x: part.x, y: part.y, for: description)
        } catch {
            let path = paths.shown(try request.data.path(paths))
            throw error.place?.contains(path) == true ? error : error.within(path)
        }
        let start = ContinuousClock.now
        let evaluation = try NeuralNetwork.evaluate(
            weights: model.weights, examples: examples, threads: try Threads.checked(request.threads), metrics: true)
        let names = dataset.classNames ?? []
        return EvaluateAnswer(
            evaluation: evaluation, dataset: dataset.name,
            classes: evaluation.confusion.indices.map { names.indices.contains($0) ? names[$0] : "\($0)" },
            seconds: (ContinuousClock.now - start) / .seconds(1))
    }
}
