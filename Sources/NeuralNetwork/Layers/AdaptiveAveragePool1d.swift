import Tensors

/// The means of as many windows as the output has numbers: [c, l] → [c, l'], with the windows of ``AdaptiveAveragePool2d``.
struct AdaptiveAveragePool1d: LayerDefinition {
    static let type = "adaptive_avg_pool1d"
    static let options = AdaptiveAveragePool2d.options

    var outputSize: Int

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.channelSequence()
        try place.positive("output_size", outputSize)
        return LayerShapes(output: [place.input[0], outputSize])
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.input.reduce(1, *)
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    /// The pool of an image with one row.
    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        try AdaptiveAveragePool2d(outputSize: Size2D(1, outputSize)).build(layer, x, &network)
    }
}

extension AdaptiveAveragePool1d {
    init(_ options: StrictContainer) throws {
        guard let size = try options.length("output_size", of: Self.type) else {
            throw options.error(.missing, "adaptive_avg_pool1d needs output_size")
        }
        outputSize = size
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("output_size", outputSize)
    }
}

extension Layer {
    /// The means of as many windows as the output has numbers: [c, l] → [c, l'].
    public static func adaptiveAveragePool1d(outputSize: Int) -> Layer {
        Layer(AdaptiveAveragePool1d(outputSize: outputSize))
    }
}
