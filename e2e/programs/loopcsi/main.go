// A storage driver for one machine. A volume is a sparse file with XFS on a loop device: it can
// really be full, it can grow while it is in use, and only one node has it at a time.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const name = "loop.csi.pgherd.dev"

// driver answers for one node, or, without one, for all of them: then it makes and grows volumes.
type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer
	node, volumes string
}

// file is where the volume of this id is kept.
func (d *driver) file(id string) (string, error) {
	if id == "" || id != filepath.Base(id) {
		return "", status.Errorf(codes.InvalidArgument, "%q is no name of a volume", id)
	}
	return filepath.Join(d.volumes, id+".img"), nil
}

// run runs a program to its end and returns what it said.
func run(program string, arguments ...string) (string, error) {
	said, err := exec.Command(program, arguments...).CombinedOutput()
	if err != nil {
		words := strings.Join(append([]string{program}, arguments...), " ")
		return "", status.Errorf(codes.Internal, "%s: %v: %s", words, err, said)
	}
	return strings.TrimSpace(string(said)), nil
}

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: name, VendorVersion: "1"}, nil
}

func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	service := &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}
	growth := &csi.PluginCapability_VolumeExpansion{Type: csi.PluginCapability_VolumeExpansion_ONLINE}
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{
		{Type: &csi.PluginCapability_Service_{Service: service}},
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: growth}},
	}}, nil
}

// registrar tells a kubelet that asks where the driver listens.
type registrar struct {
	registration.UnsafeRegistrationServer
	endpoint string
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              name,
		Endpoint:          r.endpoint,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (r *registrar) NotifyRegistrationStatus(_ context.Context, said *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !said.PluginRegistered {
		// The kubelet asks once for each socket it finds: whoever starts us again makes a new one.
		log.Fatalf("not registered: %s", said.Error)
	}
	log.Print("registered")
	return &registration.RegistrationStatusResponse{}, nil
}

func listen(path string) net.Listener {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		log.Fatal(err)
	}
	// What an earlier life left is no listener.
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func main() {
	node := flag.String("node", "", "the node whose volumes it mounts; none: it makes and grows them")
	volumes := flag.String("volumes", "", "the folder of the volumes' files")
	socket := flag.String("socket", "", "where to answer")
	registry := flag.String("registry", "", "kubelet's folder plugins_registry")
	kubeconfig := flag.String("kubeconfig", "", "with it, volumes are made for claims and removed after them")
	flag.Parse()
	own := &driver{node: *node, volumes: *volumes}
	server := grpc.NewServer()
	csi.RegisterIdentityServer(server, own)
	csi.RegisterControllerServer(server, own)
	csi.RegisterNodeServer(server, own)
	if *registry != "" {
		announcer := grpc.NewServer()
		registration.RegisterRegistrationServer(announcer, &registrar{endpoint: *socket})
		listener := listen(filepath.Join(*registry, name+"-reg.sock"))
		go func() { log.Fatal(announcer.Serve(listener)) }()
	}
	if *kubeconfig != "" {
		go own.provision(*kubeconfig)
	}
	log.Fatal(server.Serve(listen(*socket)))
}
