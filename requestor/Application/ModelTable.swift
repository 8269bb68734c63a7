import NeuralNetwork
import Reports
import Tensors
import Worker

/// A model as a table for people: a row a layer, with shape, parameters and the work of one example.
public struct ModelTable: Sendable, Equatable {
    public static let head = ["layer", "type", "output", "parameters", "multiply-adds"]

    /// A cell for each column of ``head``; what is within another layer is indented.
    public var rows: [[String]]
    /// The sums, in a sentence.
    public var note: String

    public init(_ model: ModelDescription) {
        rows = [["", "input", Self.shape(model.inputShape), "", ""]]
        rows += model.layerTable.map { layer in
            [
                String(repeating: "  ", count: min(layer.depth, 8)) + layer.name, layer.type, Self.shape(layer.output),
                layer.parameters > 0 ? Figures.grouped(layer.parameters) : "–", Figures.grouped(layer.multiplyAdds),
            ]
        }
        let bytes = Figures.bytes(model.parameterCount.multipliedSaturating(by: 4))
        note =
            "\(Figures.grouped(model.parameterCount)) parameters (\(bytes) as F32), "
            + "\(Figures.grouped(model.multiplyAdds)) multiply-adds for an example forward, about three times as many "
            + "to train on it; loss \(model.loss.name)"
    }

    /// Of a weights file; `nil` where it has no description that could be used.
    public init?(_ inspection: Inspection) {
        guard inspection.kind == .weights, inspection.problem == nil,
            let text = inspection.metadata[Weights.modelKey], let model = try? ModelDescription(json: text)
        else { return nil }
        self.init(model)
    }

    private static func shape(_ sizes: [Int]) -> String { sizes.map(String.init).joined(separator: " x ") }
}
