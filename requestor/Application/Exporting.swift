import Federation
import Foundation
import ModelFormats
import NeuralNetwork
import Tensors

/// What a model can be written as.
public enum ExportFormat: String, CaseIterable, Sendable {
    /// A state dictionary in a safetensors file, and a `.py` with the `nn.Module` that takes it.
    case pytorch
    /// The state dictionary alone.
    case safetensors
    case onnx
    case keras
    /// A weights file of DeML, from a model of another tool.
    case deml

    var ending: String {
        switch self {
        case .pytorch, .safetensors, .deml: ".safetensors"
        case .onnx: ".onnx"
        case .keras: ".keras"
        }
    }
}

public struct ExportRequest: Sendable {
    /// A weights file, the folder of a run (its best model), a model file of another tool, or a description.
    public var model: String
    /// For a description: the file with its numbers.
    public var initialWeights: String?
    public var format: ExportFormat
    /// Nil: the model's name with the format's ending, in the working folder.
    public var output: String?
    /// Of a model that does not say it.
    public var loss: String?
    /// Of one example, where the model leaves a size open, in the order of its file.
    public var inputShape: [Int]?

    public init(
        model: String, initialWeights: String? = nil, format: ExportFormat, output: String? = nil, loss: String? = nil,
        inputShape: [Int]? = nil
    ) {
        self.model = model
        self.initialWeights = initialWeights
        self.format = format
        self.output = output
        self.loss = loss
        self.inputShape = inputShape
    }
}

public struct ExportAnswer: Sendable {
    /// What was written, as a person would name it.
    public var files: [String]
    /// What a person is to know of how the model was taken.
    public var notes: [String]
}

extension Application {
    /// Writes a model for another tool, or another tool's model for DeML.
    public func export(_ request: ExportRequest) throws -> ExportAnswer {
        var notes: [String] = []
        let weights = try exported(request, &notes)
        let stem = Files.name(of: paths.resolved(request.model)).split(separator: ".").first.map(String.init) ?? "model"
        let path = paths.resolved(request.output ?? stem + request.format.ending)
        var files = [path]
        switch request.format {
        case .onnx: try Files.writeAtomically(try ONNXExport.encode(weights), to: path)
        case .keras: try Files.writeAtomically(try KerasExport.encode(weights), to: path)
        case .deml: _ = try weights.safetensors().write(to: path)
        case .safetensors, .pytorch:
            // Only the tensors: what load_state_dict takes as it is.
            let tensors = weights.safetensors().tensors
            guard request.format == .pytorch else {
                _ = try Safetensors(tensors: tensors, metadata: ["format": "pt"]).write(to: path)
                break
            }
            let base =
                path.hasSuffix(".py")
                ? String(path.dropLast(3)) : path.hasSuffix(".safetensors") ? String(path.dropLast(12)) : path
            files = [base + ".safetensors", base + ".py"]
            let source = try TorchModule.source(of: weights, weightsName: Files.name(of: files[0]))
            _ = try Safetensors(tensors: tensors, metadata: ["format": "pt"]).write(to: files[0])
            try Files.writeAtomically(Array(source.utf8), to: files[1])
        }
        return ExportAnswer(files: files.map(paths.shown), notes: notes)
    }

    private func exported(_ request: ExportRequest, _ notes: inout [String]) throws -> Weights {
        let path = paths.resolved(request.model)
        let loss = try request.loss.map(ModelDescription.Loss.init(named:))
        if !Files.isDirectory(path) {
            let start = try Files.prefix(of: path, count: 16)
            if ForeignModel.isForeign(start: start, name: path), !Gzip.isGzip(start) {
                let model = try ForeignModel(contentsOf: path, inputShape: request.inputShape)
                notes += model.notes
                do throws(DeMLError) { return try model.weights(loss: loss) } catch {
                    throw error.at(paths.shown(path))
                }
            }
            if let initial = request.initialWeights {
                let model = try described(path, loss: loss, inputShape: request.inputShape)
                let weightsPath = paths.resolved(initial)
                if let found = try ForeignWeights.read(weightsPath, for: model) {
                    notes.append("weights \(found.decision.text)")
                    return found.weights
                }
                return try Weights(Safetensors(contentsOf: weightsPath), model: model)
            }
        }
        guard request.inputShape == nil else {
            throw DeMLError(.usage, "the model says its input's shape itself", place: "--input-shape")
        }
        let argument = try ModelArgument(request.model, paths)
        return try Weights(Safetensors(contentsOf: argument.path))
    }

    private func described(
        _ path: String, loss: ModelDescription.Loss?, inputShape: [Int]?
    ) throws -> ModelDescription {
        switch try ModelFile(path: path, paths).source {
        case .description(let model): return model
        case .outline(let outline):
            guard let shape = outline.inputShape ?? inputShape else {
                throw DeMLError(
                    .missing, "the description leaves out the input's shape", place: paths.shown(path),
                    hint: "say it: --input-shape 1,28,28")
            }
            return try outline.completed(inputShape: shape, outputs: 0, loss: outline.loss ?? loss ?? .crossEntropy)
        case .path: throw DeMLError(.malformed, "the file is no model description", place: paths.shown(path))
        }
    }
}

extension ModelDescription.Loss {
    /// By its name in a description.
    init(named name: String) throws(DeMLError) {
        do {
            self = try JSONDecoder().decode(Self.self, from: Data("\"\(name)\"".utf8))
        } catch {
            throw DeMLError(.usage, "the loss \(name.quotedForMessage) is unknown", place: "--loss")
        }
    }
}
