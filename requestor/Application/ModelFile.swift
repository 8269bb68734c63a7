import Datasets
import Federation
import Foundation
import ModelFormats
import NeuralNetwork
import Tensors
import Yams

extension Application {
    /// The model description in a file, as JSON, and whether the file has weights too; nil for one that has weights alone.
    public func model(in file: String) throws -> (json: String?, hasWeights: Bool) {
        let path = paths.resolved(file)
        if try ForeignWeights.areAlone(in: path) { return (nil, true) }
        let found = try ModelFile(path: path, paths)
        if case .description(let model) = found.source { return (model.canonicalJSON, found.isWeights) }
        return (try RunJSON.line(found.source), found.isWeights)
    }

    /// How the weights in a file become those of a model, given as JSON, as `--initial-weights` takes them: which tensor is
    /// taken for what.
    public func match(weights file: String, to model: String) throws -> String {
        let path = paths.resolved(file)
        let model = try ModelDescription(json: model)
        do throws(DeMLError) {
            if let found = try ForeignWeights.read(path, for: model) { return found.decision.text }
            return
                "all \(try Weights(Safetensors(contentsOf: path), model: model).model.parameters.count) tensors by their names"
        } catch {
            throw error.place?.contains(path) == true ? error : error.within(paths.shown(path))
        }
    }
}

/// A model description out of a YAML or JSON file, an example with a `model`, a weights file, or a model file of PyTorch,
/// ONNX or Keras.
struct ModelFile {
    var source: ModelSource
    /// The file holds weights too.
    var isWeights: Bool

    init(path: String, _ paths: Paths) throws(DeMLError) {
        let place = paths.shown(path)
        let start = try Files.prefix(of: path, count: 16)
        // A safetensors file begins with the header's length and "{", or is gzip-compressed.
        if Gzip.isGzip(start) || (start.count > 8 && start[8] == UInt8(ascii: "{") && start[7] == 0) {
            source = .description(try Weights(Safetensors(contentsOf: path)).model)
            isWeights = true
            return
        }
        if ForeignModel.isForeign(start: start, name: path) {
            let model = try ForeignModel(contentsOf: path)
            source = try Self.source(of: model, place: place)
            isWeights = true
            return
        }
        let node = try YAMLFile.read(path, paths)
        guard let mapping = node.mapping else {
            throw DeMLError(.malformed, "the file is no model description", place: place)
        }
        do {
            source = try YAMLDecoder().decode(ModelSource.self, from: mapping["model"] ?? node)
            isWeights = false
        } catch {
            throw DeMLError(decoding: error, of: "the model description").at(place)
        }
    }

    /// The layers of a file of another tool. Where it does not say the loss, the data does.
    private static func source(of model: ForeignModel, place: String) throws(DeMLError) -> ModelSource {
        guard let outline = model.outline() else { throw model.refusalWithoutLayers.at(place) }
        do {
            return try JSONDecoder().decode(ModelSource.self, from: Data(outline.utf8))
        } catch {
            throw DeMLError(decoding: error, of: "the model").at(place)
        }
    }
}

extension WeightsFile {
    /// The weights file at the path, or the model with its weights in a file of another tool.
    static func read(
        _ path: String
    ) throws(DeMLError) -> (weights: WeightsFile, metadata: [String: String], isForeign: Bool) {
        let start = try Files.prefix(of: path, count: 16)
        let isForeign = ForeignModel.isForeign(start: start, name: path) && !Gzip.isGzip(start)
        // Mapped: a model that somebody names is complete, and is in memory once instead of three times.
        let file =
            isForeign
            ? try ForeignModel(contentsOf: path).weights().safetensors()
            : try Safetensors(contentsOf: path, mapping: true)
        return (try WeightsFile(file), file.metadata, isForeign)
    }
}

/// Weights to start from that are in a file of another tool.
enum ForeignWeights {
    /// Whether a file has weights and nothing of the layers: a state dictionary.
    static func areAlone(in path: String) throws(DeMLError) -> Bool {
        let start = try Files.prefix(of: path, count: 16)
        if Gzip.isGzip(start) { return false }
        if ForeignModel.isForeign(start: start, name: path) {
            return try !ForeignModel(contentsOf: path).hasArchitecture
        }
        guard start.count > 8, start[8] == UInt8(ascii: "{"), start[7] == 0 else { return false }
        return try SafetensorsFile(path).metadata[Weights.modelKey] == nil
    }

    /// The weights in the model's order, and what was taken for what; nil for a file whose names are the model's own.
    static func read(
        _ path: String, for model: ModelDescription
    ) throws(DeMLError) -> (weights: Weights, decision: Decision)? {
        let start = try Files.prefix(of: path, count: 16)
        let foreign: ForeignModel
        if ForeignModel.isForeign(start: start, name: path), !Gzip.isGzip(start) {
            foreign = try ForeignModel(contentsOf: path)
        } else {
            let file = try Safetensors(contentsOf: path)
            let names = Set(file.tensors.map(\.name))
            guard file.metadata[Weights.modelKey] == nil, model.parameters.contains(where: { !names.contains($0.name) })
            else { return nil }
            foreign = ForeignModel(file)
        }
        do throws(DeMLError) {
            let (found, matching) = try foreign.weights(for: model)
            return (found, Decision("weights", matching.summary))
        } catch {
            throw error.within(path)
        }
    }
}
