import ModelFormats
import NeuralNetwork
import Tensors
import Worker

/// What is in a file: one of ours, or a model file of another tool.
public enum FileInspection: Sendable, Encodable {
    case own(Inspection)
    case foreign(ForeignInspection)

    init(_ path: String, inputShape: [Int]?) throws(DeMLError) {
        let start = try Files.prefix(of: path, count: 16)
        if ForeignModel.isForeign(start: start, name: path), !Gzip.isGzip(start) {
            self = .foreign(try ForeignInspection(path, inputShape: inputShape))
        } else {
            guard inputShape == nil else {
                throw DeMLError(
                    .usage, "the file is one of DeML, which says its shapes itself", place: "--input-shape")
            }
            self = .own(try Inspection(contentsOf: path))
        }
    }

    public func encode(to encoder: any Encoder) throws {
        switch self {
        case .own(let inspection): try inspection.encode(to: encoder)
        case .foreign(let inspection): try inspection.encode(to: encoder)
        }
    }

    /// The layers, where the file has them.
    public var table: ModelTable? {
        switch self {
        case .own(let inspection): ModelTable(inspection)
        case .foreign(let inspection): inspection.table
        }
    }

    /// Lines for a person, without the layers.
    public var text: String {
        switch self {
        case .own(let inspection): inspection.text(isComplete: true)
        case .foreign(let inspection): inspection.text
        }
    }
}

/// What is in a model file of another tool: its layers, or the tensors where it has no layers.
public struct ForeignInspection: Sendable, Encodable {
    public struct Entry: Sendable, Encodable {
        public var name: String
        public var dtype: String
        public var shape: [Int]
    }

    public var path: String
    public var format: String
    /// Of one example.
    public var input: [Int]?
    public var layers: [LayerRow]?
    public var tensors: [Entry]
    public var parameters: Int
    public var multiplyAdds: Int?
    public var notes: [String]
    /// What the file calls the parameters, by our names.
    public var names: [String: String]
    /// The layers, for a person.
    public private(set) var table: ModelTable?

    enum CodingKeys: String, CodingKey {
        case path, format, input, layers, tensors, parameters, notes, names
        case multiplyAdds = "multiply_adds"
    }

    init(_ path: String, inputShape: [Int]?) throws(DeMLError) {
        let model = try ForeignModel(contentsOf: path, inputShape: inputShape)
        self.path = path
        format = model.format.rawValue
        notes = model.notes
        names = model.names
        tensors = model.tensors.map { Entry(name: $0.name, dtype: $0.tensor.dtype.rawValue, shape: $0.tensor.shape) }
        parameters = model.tensors.reduce(0) { $0 + $1.tensor.count }
        guard model.hasArchitecture else { return }
        let description = try model.weights().model
        input = description.inputShape
        layers = description.layerTable
        table = ModelTable(description)
        parameters = description.parameterCount
        multiplyAdds = description.multiplyAdds
    }

    var text: String {
        var lines = ["\(path.quotedForMessage): \(format)"]
        lines += notes.map { "note    \($0)" }
        if let input {
            lines.append("input   \(input)")
        } else {
            lines.append("\(tensors.count) tensors, \(parameters) numbers; the file says nothing of the layers")
            lines += tensors.map { "  \($0.name.quotedForMessage)  \($0.dtype) \($0.shape)" }
        }
        return lines.joined(separator: "\n")
    }
}
