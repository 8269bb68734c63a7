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

    init(load: @escaping Copy, store: @escaping Copy) {
        self.load = load
        self.store = store
    }
}
