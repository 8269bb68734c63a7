import Tensors

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A layer in its place, for people.
public struct LayerLine: Sendable, Equatable, Encodable {
    /// Its number.
    public var name: String
    public var type: String
    /// The shape of one example behind it.
    public var output: [Int]
    /// Numbers in its parameters, with the layers within it.
    public var parameters: Int
    /// Of one example's forward pass.
    public var multiplyAdds: Int

    enum CodingKeys: String, CodingKey {
        case name, type, output, parameters
        case multiplyAdds = "multiply_adds"
    }

    init(_ layer: ResolvedLayer) {
        name = layer.name
        type = layer.layer.type
        output = layer.output
        parameters = layer.parameters.reduce(0) { $0 + $1.count }
        multiplyAdds = layer.multiplyAdds
    }
}

extension ModelDescription {
    /// Its layers with their shapes.
    public var layerLines: [LayerLine] { resolved.map(LayerLine.init) }
}

/// A model that somebody is still writing: the layers up to the first mistake, and the mistake.
public struct ModelOutlook: Sendable {
    public var lines: [LayerLine]
    /// The whole model; nil where there is a mistake.
    public var model: ModelDescription?
    public var mistake: DeMLError?
    /// The number of the layer at which it is; nil where it is none's.
    public var layer: Int?

    /// - Parameters:
    ///   - input: shape and scale of an example.
    ///   - layers: each as the JSON of a description has it.
    public init(input: ModelDescription.Input, layers: [String], loss: ModelDescription.Loss) {
        lines = []
        var good: [Layer] = []
        for (index, text) in layers.enumerated() {
            do throws(DeMLError) {
                let layer = try Self.layer(text)
                // Without being the last one: what the loss wants of that is looked at when all are there.
                guard
                    let line = try LayerPlace.resolve(
                        good + [layer, .sigmoid], input: input, loss: loss
                    ).dropLast().last
                else { continue }
                lines.append(LayerLine(line))
                good.append(layer)
            } catch {
                // As a last layer alone some are allowed (softmax).
                if index == layers.count - 1, let layer = try? Self.layer(text),
                    let line = try? LayerPlace.resolve(good + [layer], input: input, loss: loss).last
                {
                    lines.append(LayerLine(line))
                    good.append(layer)
                    continue
                }
                mistake = error
                self.layer = index
                return
            }
        }
        do throws(DeMLError) { model = try ModelDescription(input: input, layers: good, loss: loss) } catch {
            mistake = error
            layer = good.isEmpty ? nil : good.count - 1
        }
    }

    private static func layer(_ json: String) throws(DeMLError) -> Layer {
        do { return try JSONDecoder().decode(Layer.self, from: Data(json.utf8)) } catch {
            throw DeMLError(decoding: error, of: "the layer")
        }
    }
}
