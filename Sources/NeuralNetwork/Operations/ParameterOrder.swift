/// How the kernels keep the numbers of a parameter that torch keeps otherwise. A layer whose kernels want an order of their
/// own says so in its own file.
struct ParameterOrder {
    typealias Copy = (
        _ pool: OpaquePointer, _ from: UnsafePointer<Float>, _ to: UnsafeMutablePointer<Float>
    ) -> Void

    /// From torch's order to the kernels'.
    let load: Copy
    /// Back: values, or a gradient.
    let store: Copy

    /// A parameter can be loaded in pieces that are multiples of so many numbers, the last at least one of them: they lie
    /// at the same place in both orders. nil: only whole.
    let unit: Int?
    /// As ``load``, of a piece.
    let loadPiece: ((OpaquePointer, UnsafePointer<Float>, UnsafeMutablePointer<Float>, _ count: Int) -> Void)?

    init(load: @escaping Copy, store: @escaping Copy) {
        self.load = load
        self.store = store
        unit = nil
        loadPiece = nil
    }

    init(
        load: @escaping Copy, store: @escaping Copy, unit: Int,
        loadPiece: @escaping (OpaquePointer, UnsafePointer<Float>, UnsafeMutablePointer<Float>, _ count: Int) -> Void
    ) {
        self.load = load
        self.store = store
        self.unit = unit
        self.loadPiece = loadPiece
    }
}
