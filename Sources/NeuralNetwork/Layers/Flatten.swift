import Tensors

/// Any shape → one dimension, in torch's order (channels first).
struct Flatten: PlainLayer {
    static let type = "flatten"

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        LayerShapes(output: [place.input.reduce(1, *)])
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .torch }

    /// The memory stays as it is, where it is in torch's order already.
    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        try network.converted(x, to: .torch).relabelled(shape: layer.output, layout: .torch)
    }
}

extension Layer {
    /// Any shape → one dimension, in torch's order (channels first).
    public static var flatten: Layer { Layer(Flatten()) }
}
