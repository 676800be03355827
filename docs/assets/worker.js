/* A page that was opened as a file may not start a worker from a file; the search then runs in a frame. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const worker = new URL(url, location.href)
      const frame = document.createElement("iframe")
      frame.hidden = true
      this.waiting = []
      frame.srcdoc = "<!doctype html><title>search</title>"
      frame.onload = () => {
        const inside = frame.contentWindow
        inside.postMessage = message => this.answer(message)
        const load = source => new Promise((done, failed) => {
          const script = inside.document.createElement("script")
          script.src = new URL(source, worker).href
          script.onload = done
          script.onerror = failed
          inside.document.head.append(script)
        })
        inside.importScripts = (...sources) =>
          sources.reduce((before, source) => before.then(() => load(source)), Promise.resolve())
        load(worker).then(() => {
          this.inside = inside
          this.waiting.splice(0).forEach(message => this.deliver(message))
        })
      }
      document.documentElement.append(frame)
    }
    postMessage(message) {
      this.inside ? this.deliver(message) : this.waiting.push(message)
    }
    deliver(data) {
      this.inside.dispatchEvent(new MessageEvent("message", { data }))
    }
    answer(data) {
      const event = new MessageEvent("message", { data })
      this.dispatchEvent(event)
      if (this.onmessage) this.onmessage(event)
    }
    terminate() {}
  }
}
