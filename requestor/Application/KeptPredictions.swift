import Datasets
import Foundation
import NeuralNetwork
import Tensors

extension Application {
    /// Writes predictions again in another form, to the bytes that ``predict(_:)`` gives in that form; nothing is predicted.
    /// - Parameters:
    ///   - predictions: what ``predict(_:)`` has written as safetensors with all outputs.
    ///   - model: the description of the model that they are of (``ModelInputs/description``).
    public func rewrite(
        _ predictions: String, of model: String, to output: String, as writing: PredictionWriting
    ) throws {
        try writing.validate()
        let path = paths.resolved(predictions)
        let table: PredictionTable
        do throws(DeMLError) {
            table = try PredictionTable(
                try Safetensors(contentsOf: path, mapping: true), model: try ModelDescription(json: model))
        } catch {
            throw error.within(paths.shown(path))
        }
        try table.write(to: paths.resolved(output), as: writing)
    }
}

extension PredictionTable {
    /// What ``write(to:as:)`` has written as safetensors with all outputs.
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
