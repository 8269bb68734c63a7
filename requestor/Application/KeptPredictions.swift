import Datasets
import Foundation
import NeuralNetwork
import Tensors

/// Predictions that lie in a safetensors file with all outputs, to be written in another form: nothing is predicted again.
public struct RewriteRequest: Sendable {
    /// What ``Application/predict(_:)`` has written.
    public var predictions: String
    /// The description of the model that they are of: ``ModelInputs/description``.
    public var model: String
    public var output: String
    public var format: PredictionFormat
    public var contents: PredictionContents
    public var top: Int

    public init(
        predictions: String, model: String, output: String, format: PredictionFormat,
        contents: PredictionContents = .all, top: Int = 3
    ) {
        self.predictions = predictions
        self.model = model
        self.output = output
        self.format = format
        self.contents = contents
        self.top = top
    }
}

extension Application {
    /// Writes kept predictions in another form: the bytes that ``predict(_:)`` gives in that form.
    public func rewrite(_ request: RewriteRequest) throws {
        guard request.top >= 1 else {
            throw DeMLError(.usage, "of each example at least one class is written, not \(request.top)", place: "top")
        }
        let path = paths.resolved(request.predictions)
        let table: PredictionTable
        do throws(DeMLError) {
            table = try PredictionTable(
                try Safetensors(contentsOf: path, mapping: true), model: try ModelDescription(json: request.model))
        } catch {
            throw error.within(paths.shown(path))
        }
        try table.write(
            to: paths.resolved(request.output), format: request.format, contents: request.contents, top: request.top)
    }
}

extension PredictionTable {
    /// What ``write(to:format:contents:top:)`` has written as safetensors with all outputs.
    fileprivate init(_ file: Safetensors, model: ModelDescription) throws(DeMLError) {
        func tensor(_ name: String) -> Tensor? { file.tensors.first { $0.name == name }?.tensor }
        guard let schema = try Schema(metadata: file.metadata), let outputs = tensor("predictions"),
            let rows = tensor("rows"), rows.shape.count == 1, outputs.shape == rows.shape + model.outputShape
        else { throw DeMLError(.malformed, "these are no predictions of the model with all outputs") }
        let labels = tensor("labels")
        guard labels.map({ $0.shape.first == rows.shape[0] }) ?? true else {
            throw DeMLError(.malformed, "there are not as many labels as predictions")
        }
        let isClasses = labels?.dtype.isInteger == true
        self.init(
            model: model, schema: schema, rows: try rows.integers(), outputs: try outputs.floats(),
            labels: isClasses ? try labels?.integers() : nil, targets: isClasses ? nil : try labels?.floats())
    }
}
