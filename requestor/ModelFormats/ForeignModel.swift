import Foundation
import NeuralNetwork
import Tensors

/// A file of another tool: weights alone, or a model with its architecture. Which one is told by its content, not by its
/// name. Nothing in it is run.
public struct ForeignModel: Sendable {
    public enum Format: String, Sendable {
        case pytorch = "PyTorch state dictionary"
        case safetensors = "safetensors"
        case onnx = "ONNX"
        case exportedProgram = "PyTorch exported program"
        case keras = "Keras"
    }

    public let format: Format
    /// The layers; nil for weights alone.
    let architecture: ModelAssembly?
    /// In the order of the file, by its names; with an architecture by ours.
    public let tensors: [(name: String, tensor: Tensor)]
    /// What was decided on the way.
    public let notes: [String]

    public static let maximumBytes = 4 << 30

    /// Whether a file begins as one of those that are read here. YAML, JSON and our own weights do not.
    public static func isForeign(start: [UInt8], name: String) -> Bool {
        // Safetensors begin with the length of their header, whose first byte may be any.
        if start.count > 8, start[8] == UInt8(ascii: "{"), start[7] == 0 { return false }
        return ZipArchive.isZip(start) || start.starts(with: [0x89, 0x48, 0x44, 0x46]) || start.first == 0x80
            || name.hasSuffix(".onnx") || name.hasSuffix(".pt") || name.hasSuffix(".pth") || name.hasSuffix(".pt2")
            || name.hasSuffix(".keras") || name.hasSuffix(".h5")
    }

    /// Reads a file. Errors have the path as place.
    /// - Parameter inputShape: of one example, as the file orders it, where the file leaves a size open.
    public init(contentsOf path: String, inputShape: [Int]? = nil) throws(DeMLError) {
        let bytes = try Files.read(path, maximumBytes: Self.maximumBytes)
        do throws(DeMLError) {
            try self.init(bytes, name: Files.name(of: path), folder: Files.parent(of: path), inputShape: inputShape)
        } catch {
            throw error.within(path)
        }
    }

    /// Reads the bytes of a file.
    /// - Parameters:
    ///   - name: of the file; what it ends with decides where the content does not.
    ///   - folder: where the parts of a model lie that are beside its file; nil: there are none.
    public init(
        _ bytes: [UInt8], name: String, folder: String? = nil, inputShape: [Int]? = nil
    ) throws(DeMLError) {
        if ZipArchive.isZip(bytes) {
            let archive = try ZipArchive(bytes)
            if ExportedProgram.isExportedProgram(archive) {
                var importer = try ExportedImporter(try ExportedProgram(archive))
                _ = try InputShape.completed(importer.graph.inputShape, inputShape)
                let assembly = try ModelAssembly(try importer.steps(), inputShape: importer.graph.inputShape)
                self.init(.exportedProgram, assembly, importer.notes)
            } else if KerasFile.isKeras(archive) {
                try self.init(try KerasFile(archive), inputShape)
            } else {
                self.init(.pytorch, try TorchFile(archive).tensors)
            }
        } else if bytes.starts(with: TorchFile.legacyMagic) {
            self.init(.pytorch, try TorchFile(legacy: bytes).tensors)
        } else if bytes.starts(with: HDF5File.signature) {
            try self.init(try KerasFile(hdf5: bytes), inputShape)
        } else if bytes.first == 0x80 {
            // A pickle by itself. What it asks for is named, if it asks for anything.
            _ = try Pickle(bytes[...])
            throw DeMLError(.malformed, "the file is a pickle, but not one of torch.save")
        } else {
            var files = ONNXExternalFiles(folder: folder)
            let model = try ONNXModel(bytes[...]) { (part) throws(DeMLError) in try files.read(part) }
            var importer = try ONNXImporter(model, inputShape: inputShape)
            let assembly = try ModelAssembly(try importer.steps(), inputShape: importer.graph.inputShape)
            self.init(.onnx, assembly, importer.notes)
        }
    }

    private init(_ format: Format, _ assembly: ModelAssembly, _ notes: [String]) {
        self.format = format
        architecture = assembly
        tensors = assembly.named
        self.notes = notes + assembly.notes
    }

    private init(_ format: Format, _ tensors: [(name: String, tensor: Tensor)]) {
        self.format = format
        architecture = nil
        self.tensors = tensors
        notes = []
    }

    private init(_ file: KerasFile, _ inputShape: [Int]?) throws(DeMLError) {
        let importer = try KerasImporter(file, inputShape: inputShape)
        let assembly = try ModelAssembly(try importer.steps(), inputShape: importer.graph.inputShape)
        self.init(.keras, assembly, importer.notes)
    }

    /// Weights of somebody else in a safetensors file.
    public init(_ file: Safetensors) {
        self.init(.safetensors, file.tensors)
    }

    /// What is said where the layers are needed and the file has none.
    public var refusalWithoutLayers: DeMLError {
        DeMLError(
            .missing, "the file holds \(tensors.count) tensors and says nothing of the layers",
            hint: "describe the model in YAML and give this file as --initial-weights, or use torch.export.save")
    }

    /// What the file calls the parameters of the model, by our names; empty where it has no names worth keeping.
    public var names: [String: String] { architecture?.names ?? [:] }

    /// Whether the file says what the layers are.
    public var hasArchitecture: Bool { architecture != nil }

    /// The model as JSON, with the loss where it is given or where the file's end says it.
    /// - Returns: nil for weights alone.
    public func outline(loss: ModelDescription.Loss? = nil) -> String? {
        guard let architecture else { return nil }
        var tree: [String: JSONTree] = ["layers": .list(architecture.layers)]
        var input: [String: JSONTree] = ["shape": .ints(architecture.input.shape)]
        if architecture.input.divideBy != 1 { input["divide_by"] = .number(architecture.input.divideBy) }
        if !architecture.input.mean.isEmpty { input["mean"] = .list(architecture.input.mean.map(JSONTree.number)) }
        if !architecture.input.standardDeviation.isEmpty {
            input["std"] = .list(architecture.input.standardDeviation.map(JSONTree.number))
        }
        if let tokens = architecture.tokens { input["tokens"] = .integer(tokens) }
        tree["input"] = .mapping(input)
        let text = canonicalJSON(JSONTree.mapping(tree))
        guard let loss = loss ?? (architecture.isClassifier ? .crossEntropy : nil) else { return text }
        return String(text.dropLast()) + ",\"loss\":" + canonicalJSON(loss) + "}"
    }

    /// The model with its numbers. Where neither the file nor `loss` says the loss, a vector of two or more outputs is taken
    /// for the logits of classes.
    /// - Throws: `missing` for weights alone, and what is wrong with the layers.
    public func weights(loss: ModelDescription.Loss? = nil) throws(DeMLError) -> Weights {
        guard let architecture else { throw refusalWithoutLayers }
        var chosen = loss
        if chosen == nil, !architecture.isClassifier {
            let output = try description(.meanSquaredError).outputShape
            let isClassifier = output.count == 1 || architecture.tokens != nil && output.count == 2
            chosen = isClassifier && output.last ?? 0 >= 2 ? .crossEntropy : .meanSquaredError
        }
        let model = try description(chosen ?? .crossEntropy)
        return try Weights(Safetensors(tensors: tensors), model: model)
    }

    private func description(_ loss: ModelDescription.Loss) throws(DeMLError) -> ModelDescription {
        try ModelDescription(json: outline(loss: loss) ?? "")
    }

    /// The numbers for a model that is described elsewhere, found by name or by order.
    /// - Throws: what ``WeightMatching`` refuses.
    public func weights(for model: ModelDescription) throws(DeMLError) -> (weights: Weights, matching: WeightMatching) {
        let matching = try WeightMatching(model, tensors)
        let named = zip(model.parameters, matching.tensors).map { ($0.name, $1) }
        return (try Weights(Safetensors(tensors: named), model: model), matching)
    }
}

/// The shape of an example, where a file may leave sizes open.
enum InputShape {
    /// - Parameters:
    ///   - sizes: what the file says; nil for one that may vary.
    ///   - given: what a person says, in the same order.
    static func completed(_ sizes: [Int?], _ given: [Int]?) throws(DeMLError) -> [Int] {
        let shown = "[" + sizes.map { $0.map(String.init) ?? "?" }.joined(separator: ", ") + "]"
        guard let given else {
            let known = sizes.compactMap(\.self)
            guard known.count == sizes.count else {
                let example = sizes.map { String($0 ?? 224) }.joined(separator: ",")
                throw DeMLError(
                    .shape, "the model leaves sizes of its input open: \(shown)",
                    hint: "say them in this order: deml export --to deml --input-shape \(example)")
            }
            return known
        }
        let isFitting =
            given.count == sizes.count
            && zip(sizes, given).allSatisfy { size, given in given > 0 && size ?? given == given }
        guard isFitting else {
            throw DeMLError(
                .shape, "the input shape \(given) is not that of the model: \(shown)",
                hint: "--input-shape has a size for each dimension of an example, in the model's order")
        }
        return given
    }
}

/// The parts of a model that lie beside its file.
struct ONNXExternalFiles {
    let folder: String?
    /// Each file is read once.
    private var contents: [String: [UInt8]] = [:]

    init(folder: String?) {
        self.folder = folder
    }

    /// Only files of the same folder, by their plain names: no path leads out of it.
    mutating func read(_ part: ExternalData) throws(DeMLError) -> ArraySlice<UInt8> {
        guard let folder else { throw DeMLError(.missing, "its numbers are in another file, which is not there") }
        let name = part.location
        guard !name.isEmpty, !name.contains("/"), !name.contains("\\"), !name.contains("\0"), name != ".", name != ".."
        else {
            throw DeMLError(
                .malformed, "its numbers are in \(name.quotedForMessage), which is not a file beside the model",
                hint: "external data is read from the model's own folder only")
        }
        let bytes: [UInt8]
        if let known = contents[name] {
            bytes = known
        } else {
            bytes = try Files.read(Files.path(folder, name), maximumBytes: ForeignModel.maximumBytes)
            contents[name] = bytes
        }
        let length = part.length ?? 0
        guard part.offset >= 0, length >= 0, part.offset <= bytes.count, length <= bytes.count - part.offset else {
            throw DeMLError(
                .truncated,
                "its numbers would be \(length) bytes at \(part.offset) of \(name.quotedForMessage), which has \(bytes.count)",
                hint: "is the file complete?")
        }
        return bytes[part.offset..<part.offset + length]
    }
}
